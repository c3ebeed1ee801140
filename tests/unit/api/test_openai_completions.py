"""`POST /v1/completions`: what it asks of the generator, and the shape of its answers."""

from __future__ import annotations

from typing import Any

import pytest
from played_node import HELLO, Served

from skerry.generation.base import Delta, TokenLogprob

PATH = "/v1/completions"


def ask(served: Served, **fields: Any) -> Any:
    answer = served.http.post(PATH, json={"prompt": "Once", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_whole_answer_has_text_reason_and_real_counts(served: Served) -> None:
    answer = ask(served)
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [
        {"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}
    ]
    assert answer["usage"]["total_tokens"] == 7
    (request,) = served.node.texts.slots.asked
    assert (request.prompt, request.sampling.max_tokens) == ("Once", 16)


def test_a_stream_gives_the_words_the_reason_the_usage_and_done(served: Served) -> None:
    *events, last, done = served.events(
        PATH, {"prompt": "Once", "stream_options": {"include_usage": True}}
    )
    assert "".join(event["choices"][0]["text"] for event in events) == "Hello"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert (last["choices"], last["usage"]["completion_tokens"], done) == ([], 2, "[DONE]")


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        (["a", "b"], {"a", "b"}),
        ([1, 2, 3], {(1, 2, 3)}),
        ([[1, 2], [3]], {(1, 2), (3,)}),
    ],
)
def test_every_form_of_prompt_is_answered(served: Served, prompt: Any, asked: set[Any]) -> None:
    answer = ask(served, prompt=prompt, n=2)
    assert [choice["index"] for choice in answer["choices"]] == list(range(2 * len(asked)))
    assert {request.prompt for request in served.node.texts.slots.asked} == asked
    assert answer["usage"]["prompt_tokens"] == 5 * len(asked)
    assert answer["usage"]["completion_tokens"] == 2 * 2 * len(asked)


def test_logprobs_say_where_each_token_begins(served: Served) -> None:
    def token(text: str) -> TokenLogprob:
        return TokenLogprob(text=text, logprob=-0.5, top=((text, -0.5),))

    served.node.texts.slots.script = [
        Delta(text="Hel", logprobs=(token("H"), token("el"))),
        Delta(text="lo", logprobs=(token("lo"),)),
        HELLO[-1],
    ]
    found = ask(served, logprobs=1)["choices"][0]["logprobs"]
    assert found == {
        "tokens": ["H", "el", "lo"], "token_logprobs": [-0.5] * 3, "text_offset": [0, 1, 3],
        "top_logprobs": [{"H": -0.5}, {"el": -0.5}, {"lo": -0.5}],
    }  # fmt: skip
    events = served.events(PATH, {"prompt": "Once", "logprobs": 1})
    assert events[1]["choices"][0]["logprobs"]["text_offset"] == [3]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"echo": True}, "echo"), ({"suffix": "end"}, "suffix"), ({"best_of": 2}, "best_of"),
        ({"logit_bias": {"1": 1}}, "logit_bias"), ({"logprobs": 6}, "logprobs"),
        ({"prompt": ""}, "prompt"), ({"prompt": []}, "prompt"), ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"), ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": None}, "prompt"), ({"prompt": ["a"] * 9, "n": 2}, "n"),
        ({"prompt": ["a"] * 17}, "prompt"), ({"max_tokens": -5}, "max_tokens"),
        ({"min_tokens": 5}, "min_tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_by_name(
    served: Served, fields: dict[str, Any], param: str
) -> None:
    answer = served.http.post(PATH, json={"prompt": "Once", **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert not served.node.texts.slots.asked


def test_a_missing_prompt_is_named(served: Served) -> None:
    answer = served.http.post(PATH, json={})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
