"""The official `openai` client, unmodified, embeds, completes and chats on the node."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from running_node import RunningNode

openai = pytest.importorskip("openai", reason="Needs the openai client: pip install openai")

EMBEDDER, CHAT = "all-minilm-l6-v2", "smollm2-135m-instruct"
MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ENDLESS: Any = [{"role": "user", "content": "Count from one to a thousand, in words."}]


@pytest.fixture
def client(text_node: RunningNode) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{text_node.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
async def asynchronous(text_node: RunningNode) -> Any:
    url = f"{text_node.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as made:
        yield made


def cosine(a: list[float], b: list[float]) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


# Embeddings


def test_texts_of_like_meaning_lie_near_each_other(client: Any) -> None:
    texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose."]
    answer = client.embeddings.create(model=EMBEDDER, input=texts)
    vectors = [one.embedding for one in answer.data]
    assert [len(vector) for vector in vectors] == [384] * 3
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-3 for vector in vectors)
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]) + 0.2
    assert answer.model == EMBEDDER
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 3 * 5


def test_floats_and_base64_are_the_same_vector(client: Any) -> None:
    # The client asks for base64 by itself and decodes it; asked for, it hands it on.
    plain = client.embeddings.create(model=EMBEDDER, input="hello").data[0].embedding
    floats = client.embeddings.create(model=EMBEDDER, input="hello", encoding_format="float")
    coded = client.embeddings.create(model=EMBEDDER, input="hello", encoding_format="base64")
    assert len(base64.b64decode(coded.data[0].embedding)) == 4 * 384
    assert plain == pytest.approx(floats.data[0].embedding, abs=1e-3)


def test_a_text_has_the_same_vector_alone_and_beside_a_long_one(client: Any) -> None:
    alone = client.embeddings.create(model=EMBEDDER, input="hello").data[0].embedding
    beside = client.embeddings.create(model=EMBEDDER, input=["hello", "a much longer text " * 20])
    assert beside.data[0].embedding == pytest.approx(alone, abs=1e-3)


def test_token_arrays_are_taken_for_texts(client: Any) -> None:
    ids = [7592, 2088]
    one = client.embeddings.create(model=EMBEDDER, input=ids)
    two = client.embeddings.create(model=EMBEDDER, input=[ids, ids])
    assert len(one.data) == 1
    assert two.data[1].embedding == pytest.approx(one.data[0].embedding, abs=1e-3)
    text = client.embeddings.create(model=EMBEDDER, input="hello world")
    assert cosine(one.data[0].embedding, text.data[0].embedding) > 0.99


async def test_many_callers_at_once_get_each_their_own(asynchronous: Any) -> None:
    texts = [f"text number {i}" for i in range(40)]
    calls = [asynchronous.embeddings.create(model=EMBEDDER, input=text) for text in texts]
    alone = [answer.data[0].embedding for answer in await asyncio.gather(*calls)]
    together = await asynchronous.embeddings.create(model=EMBEDDER, input=texts)
    for mine, theirs in zip(alone, together.data, strict=True):
        assert mine == pytest.approx(theirs.embedding, abs=1e-3)


# Chat


def test_a_question_is_answered_with_real_counts(client: Any) -> None:
    answer = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, max_tokens=30, temperature=0
    )
    (choice,) = answer.choices
    assert "Paris" in choice.message.content
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
    assert answer.model == CHAT
    assert 0 < answer.usage.completion_tokens <= 30
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_is_the_whole_answer_in_pieces(client: Any) -> None:
    asked = {"model": CHAT, "messages": MESSAGES, "max_tokens": 30, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 3
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert chunks[-2].choices[0].finish_reason == "stop"


async def test_streams_run_side_by_side(asynchronous: Any) -> None:
    async def ask() -> str:
        stream = await asynchronous.chat.completions.create(
            model=CHAT, messages=MESSAGES, max_tokens=12, temperature=0, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    answers = await asyncio.gather(*[ask() for _ in range(4)])
    assert all("Paris" in answer for answer in answers)


def test_the_clients_own_stream_helper_collects_the_answer(client: Any) -> None:
    with client.chat.completions.stream(
        model=CHAT, messages=MESSAGES, max_tokens=30, temperature=0
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert "Paris" in final.choices[0].message.content


def test_an_answer_goes_back_into_the_conversation_as_it_is(client: Any) -> None:
    first = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, max_tokens=20, temperature=0
    )
    again = [*MESSAGES, first.choices[0].message, {"role": "user", "content": "And of Italy?"}]
    second = client.chat.completions.create(
        model=CHAT, messages=again, max_tokens=20, temperature=0
    )
    assert second.usage.prompt_tokens > first.usage.prompt_tokens
    assert second.choices[0].message.content


def test_a_json_schema_is_kept_to(client: Any) -> None:
    format_ = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    answer = client.chat.completions.create(
        model=CHAT, messages=[{"role": "user", "content": "Invent a person, as JSON."}],
        response_format=format_, max_tokens=100, temperature=0,
    )  # fmt: skip
    found = json.loads(answer.choices[0].message.content)
    assert set(found) == {"name", "age"}
    assert type(found["age"]) is int


def test_the_clients_parse_helper_gives_the_object(client: Any) -> None:
    pydantic = pytest.importorskip("pydantic")
    person = pydantic.create_model("Person", name=(str, ...), age=(int, ...))
    answer = client.chat.completions.parse(
        model=CHAT, messages=[{"role": "user", "content": "Invent a person, as JSON."}],
        response_format=person, max_tokens=100, temperature=0,
    )  # fmt: skip
    assert type(answer.choices[0].message.parsed.age) is int


def test_stop_max_tokens_and_seed_do_what_they_say(client: Any) -> None:
    def ask(**fields: Any) -> Any:
        return client.chat.completions.create(model=CHAT, messages=MESSAGES, **fields)

    cut = ask(max_completion_tokens=3, temperature=0)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 3)
    stopped = ask(max_tokens=30, temperature=0, stop=[" Paris"]).choices[0]
    assert (stopped.finish_reason, "Paris" in stopped.message.content) == ("stop", False)
    same = [ask(max_tokens=10, temperature=1.5, seed=7).choices[0].message.content
            for _ in range(2)]  # fmt: skip
    assert same[0] == same[1]
    several = ask(max_tokens=5, n=2, seed=1)
    assert [choice.index for choice in several.choices] == [0, 1]


def test_logprobs_have_openais_shape(client: Any) -> None:
    answer = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, max_tokens=4, temperature=0, logprobs=True
    )
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == answer.usage.completion_tokens
    assert all(token.logprob <= 0 and bytes(token.bytes).decode() == token.token
               for token in tokens)  # fmt: skip


# Completions


def test_a_prompt_is_continued_whole_and_streamed(client: Any) -> None:
    asked = {"model": CHAT, "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
    whole = client.completions.create(**asked)
    assert (whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("length", 8)
    pieces = [chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True)]
    assert "".join(pieces) == whole.choices[0].text


def test_several_prompts_and_token_ids_are_continued(client: Any) -> None:
    answer = client.completions.create(
        model=CHAT, prompt=["One, two,", "Red, green,"], max_tokens=4, temperature=0
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    by_ids = client.completions.create(model=CHAT, prompt=[504, 365], max_tokens=2)
    assert by_ids.usage.prompt_tokens == 2


# Errors


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        (lambda c: c.embeddings.create(model="gpt-9", input="a"), "NotFoundError",
         "model_not_found"),
        (lambda c: c.embeddings.create(model=CHAT, input="a"), "BadRequestError", "wrong_task"),
        (lambda c: c.embeddings.create(model=EMBEDDER, input=""), "BadRequestError",
         "field_refused"),
        (lambda c: c.embeddings.create(model=EMBEDDER, input="a", dimensions=9),
         "BadRequestError", "field_refused"),
        (lambda c: c.embeddings.create(model=EMBEDDER, input="word " * 600), "BadRequestError",
         "context_length_exceeded"),
        (lambda c: c.chat.completions.create(model=EMBEDDER, messages=MESSAGES),
         "BadRequestError", "wrong_task"),
        (lambda c: c.chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": "word " * 20_000}]),
         "BadRequestError", "context_length_exceeded"),
        (lambda c: c.chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": "word " * 20_000}], stream=True),
         "BadRequestError", "context_length_exceeded"),
        (lambda c: c.chat.completions.create(model=CHAT, messages=MESSAGES, max_tokens=-1),
         "BadRequestError", "field_refused"),
        (lambda c: c.chat.completions.create(
            model=CHAT, messages=MESSAGES, tools=[{"type": "function", "function": {"name": "f"}}]),
         "BadRequestError", "field_refused"),
        (lambda c: c.chat.completions.create(
            model=CHAT, messages=MESSAGES, response_format={
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "nonsense"}}}),
         "UnprocessableEntityError", "unprocessable"),
    ],
)  # fmt: skip
def test_refusals_are_the_clients_own_classes(
    client: Any, call: Callable[[Any], Any], kind: str, code: str
) -> None:
    with pytest.raises(getattr(openai, kind)) as raised:
        call(client)
    assert raised.value.body["code"] == code
    assert raised.value.request_id


def test_a_raw_response_shows_the_headers(client: Any) -> None:
    raw = client.embeddings.with_raw_response.create(
        model=EMBEDDER, input="a", extra_headers={"X-Request-Id": "mine"}
    )
    assert raw.headers["x-request-id"] == "mine"
    assert "inference;dur=" in raw.headers["server-timing"]
    assert len(raw.parse().data[0].embedding) == 384


def test_special_tokens_in_a_message_stay_text(client: Any) -> None:
    def count(text: str) -> int:
        answer = client.chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": text}], max_tokens=1
        )
        return answer.usage.prompt_tokens

    # As a special token each would be one; as text it is several.
    assert count("a<|im_end|>") > count("a") + 2


# Under load


def slots_in_use(node: RunningNode) -> float:
    with node.client() as http:
        for line in http.get("/metrics").text.splitlines():
            if line.startswith("skerry_queue_depth{") and CHAT in line:
                return float(line.rpartition(" ")[2])
    return 0.0


def test_closing_a_stream_frees_its_slot_at_once(client: Any, text_node: RunningNode) -> None:
    streams = [
        client.chat.completions.create(
            model=CHAT, messages=ENDLESS, max_tokens=4000, temperature=0, stream=True
        )
        for _ in range(4)
    ]
    for stream in streams:
        next(iter(stream))
    assert slots_in_use(text_node) == 4
    for stream in streams:
        stream.close()
    end = time.monotonic() + 5
    while slots_in_use(text_node):
        assert time.monotonic() < end, "the slots are still in use"
        time.sleep(0.02)


def test_what_neither_runs_nor_waits_is_told_to_come_again(
    text_models: Any, new_node: Callable[..., RunningNode]
) -> None:
    node = new_node(
        environ={"SKERRY_MODELS_CHAT": CHAT, "SKERRY_GENERATION_SLOTS": "1",
                 "SKERRY_GENERATION_QUEUE": "0"},
    )  # fmt: skip
    url = f"{node.url}/v1"
    patient = openai.OpenAI(base_url=url, api_key="none", max_retries=20)
    hasty = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    # The model is loaded by the first call; until it is there, the client is told to wait.
    with patient.chat.completions.create(
        model=CHAT, messages=ENDLESS, max_tokens=4000, temperature=0, stream=True
    ) as stream:
        next(iter(stream))
        with pytest.raises(openai.InternalServerError) as raised:
            hasty.chat.completions.create(model=CHAT, messages=MESSAGES, max_tokens=1)
    assert raised.value.status_code == 503
    assert raised.value.body["code"] == "overloaded"
    assert int(raised.value.response.headers["retry-after"]) >= 1
    assert patient.chat.completions.create(
        model=CHAT, messages=MESSAGES, max_tokens=1, temperature=0
    ).usage.completion_tokens == 1  # fmt: skip


def test_a_key_needs_the_scope_to_infer(
    text_models: Any, new_node: Callable[..., RunningNode]
) -> None:
    node = new_node(environ={"SKERRY_MODELS_EMBEDDING": EMBEDDER})
    with node.client() as http:
        made = http.post("/api/keys", json={"name": "reader", "scope": "read"}).json()
    url = f"{node.url}/v1"
    reader = openai.OpenAI(base_url=url, api_key=made["secret"], max_retries=0)
    with pytest.raises(openai.PermissionDeniedError) as denied:
        reader.embeddings.create(model=EMBEDDER, input="a")
    assert denied.value.body["type"] == "permission_error"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=url, api_key="sk_no", max_retries=0).embeddings.create(
            model=EMBEDDER, input="a"
        )
