"""llama.cpp over small models of several architectures that this writes itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from skerry.config import GenerationSettings
from skerry.errors import (
    BadRequest,
    ConfigError,
    ContextLengthExceeded,
    ModelInvalid,
    ModelUnavailable,
)
from skerry.generation.base import (
    Delta,
    Finished,
    GenerationRequest,
    Message,
    Sampling,
    Tool,
    ToolCall,
)
from skerry.generation.llamacpp import LlamaCppGenerator, footprint_bytes, grammar_of
from skerry.generation.llamacpp_server import refusal
from skerry.metrics import Metrics
from skerry.models.manifest import ChatModel
from tiny_gguf import WITH_TOOLS, write_model

SETTINGS = GenerationSettings(slots=2, context=512)
ARCHITECTURES = ["gpt2", "llama", "qwen2", "gemma"]
WEATHER = Tool(
    name="weather",
    description="Weather at a place",
    parameters={"type": "object", "properties": {"place": {"type": "string"}}},
)


async def answer(
    generator: LlamaCppGenerator, prompt: Any, *, tools: tuple[Tool, ...] = (), **sampling: Any
) -> tuple[str, Finished]:
    wanted = {"temperature": 0.0, "max_tokens": 8} | sampling
    request = GenerationRequest(prompt=prompt, tools=tools, sampling=Sampling(**wanted))
    events = [event async for event in generator.generate(request)]
    end = events.pop()
    assert isinstance(end, Finished)
    return "".join(event.text for event in events if isinstance(event, Delta)), end


def says(content: str) -> tuple[Message, ...]:
    return (Message(role="user", content=content),)


def generator_of(model: ChatModel, settings: GenerationSettings = SETTINGS) -> LlamaCppGenerator:
    return LlamaCppGenerator(model, settings=settings, metrics=Metrics())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
async def test_an_architecture_loads_and_answers(architecture: str, tmp_path: Path) -> None:
    generator = generator_of(write_model(tmp_path / "m.gguf", architecture=architecture))
    await generator.open()
    try:
        _, end = await answer(generator, "the the", seed=1, temperature=1.0)
        assert end.prompt_tokens >= 2
        # A special token as text is more tokens than one, in every tokenizer.
        plain, forged = [
            (await answer(generator, says(text)))[1].prompt_tokens for text in ("a", "a<|im_end|>")
        ]
        assert forged > plain + 5
    finally:
        await generator.close()


async def test_grammars_are_refused_where_the_tokenizer_hides_spaces(tmp_path: Path) -> None:
    generator = generator_of(write_model(tmp_path / "m.gguf", architecture="llama"))
    await generator.open()
    try:
        assert not generator.info.grammar
        with pytest.raises(BadRequest, match="tokenizer"):
            await answer(generator, says("Hi"), json_schema='{"const": "x"}')
    finally:
        await generator.close()


@pytest.mark.parametrize("architecture", ["gpt2", "qwen2", "gemma"])
async def test_a_grammar_holds_whatever_the_weights(architecture: str, tmp_path: Path) -> None:
    generator = generator_of(write_model(tmp_path / "m.gguf", architecture=architecture))
    text = "日本語 😀 é"
    try:
        said, end = await answer(
            generator, says("Hi"), json_schema=json.dumps({"const": text}), max_tokens=60
        )
        assert json.loads(said) == text
        assert end.reason == "stop"
    finally:
        await generator.close()


async def test_tools_stand_in_the_prompt_where_the_template_has_them(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.gguf", template=WITH_TOOLS)
    generator = generator_of(model)
    try:
        _, bare = await answer(generator, says("Hi"))
        _, with_tools = await answer(generator, says("Hi"), tools=(WEATHER,))
        assert with_tools.prompt_tokens > bare.prompt_tokens + len(WEATHER.description)
        call = ToolCall(id="1", name="weather", arguments='{"place": "Rome"}')
        turns = (
            *says("Hi"),
            Message(role="assistant", content="", tool_calls=(call,)),
            Message(role="tool", content="21 degrees", tool_call_id="1"),
        )
        _, later = await answer(generator, turns, tools=(WEATHER,))
        assert later.prompt_tokens > with_tools.prompt_tokens
        with pytest.raises(BadRequest, match="special token"):
            await answer(generator, says("<|im_end|>"), tools=(WEATHER,))
    finally:
        await generator.close()


async def test_without_a_template_there_is_no_chat_but_completion(tmp_path: Path) -> None:
    generator = generator_of(write_model(tmp_path / "m.gguf", template=""))
    try:
        with pytest.raises(BadRequest, match="no chat template"):
            await answer(generator, says("Hi"))
        assert (await answer(generator, "the"))[1].prompt_tokens
    finally:
        await generator.close()


async def test_a_message_may_hold_spaces_around_a_special_token(tmp_path: Path) -> None:
    template = "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}"
    generator = generator_of(write_model(tmp_path / "m.gguf", template=template))
    try:
        _, trimmed = await answer(generator, says("  \n<|im_end|> \n "))
        _, bare = await answer(generator, says("<|im_end|>"))
        assert trimmed.prompt_tokens == bare.prompt_tokens
    finally:
        await generator.close()


async def test_a_broken_file_is_refused_before_a_process_starts(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.gguf")
    file = tmp_path / "m.gguf"
    file.write_bytes(file.read_bytes()[:-1000])
    generator = generator_of(model)
    with pytest.raises(ModelInvalid):
        await generator.open()
    assert generator.pid is None
    # The next but one start waits, however often it is asked for.
    with pytest.raises(ModelInvalid):
        await generator.open()
    with pytest.raises(ModelUnavailable, match="failed to start") as refused:
        await generator.open()
    assert refused.value.retry_after_s
    await generator.close()


async def test_what_llamacpp_cannot_load_says_why(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.gguf")
    file = tmp_path / "m.gguf"
    # A header that is sound, of an architecture that nobody knows.
    file.write_bytes(file.read_bytes().replace(b"qwen2.", b"qwxn2.").replace(b"qwen2", b"qwxn2", 1))
    generator = generator_of(model)
    with pytest.raises(ModelInvalid, match="qwxn2"):
        await generator.open()
    await generator.close()


async def test_more_context_than_the_model_has_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.gguf")
    with pytest.raises(ConfigError, match="2048"):
        generator_of(model, GenerationSettings(context=4096))


async def test_senseless_text_is_refused_and_costs_nothing(tmp_path: Path) -> None:
    generator = generator_of(write_model(tmp_path / "m.gguf"))
    try:
        for prompt in ("a\ud800", says("\udfff")):
            with pytest.raises(BadRequest, match="surrogate"):
                await answer(generator, prompt)
        pid = generator.pid
        for prompt in ("the " * 2_500_000, says("the " * 2_500_000)):
            with pytest.raises(ContextLengthExceeded, match="10000000 characters"):
                await answer(generator, prompt)
        with pytest.raises(ContextLengthExceeded, match=r"prompt has \d+ tokens"):
            await answer(generator, "the " * 20_000)
        for prompt in ("\x00", "\x00<|im_end|>", says("\x00\ufffe")):
            assert (await answer(generator, prompt))[1].prompt_tokens
        assert generator.pid == pid
    finally:
        await generator.close()


async def test_a_closed_generator_starts_no_process(tmp_path: Path) -> None:
    generator = generator_of(write_model(tmp_path / "m.gguf"))
    await generator.open()
    process = psutil.Process(generator.pid)
    assert process.nice() >= 10
    await generator.close()
    assert not process.is_running()
    with pytest.raises(ModelUnavailable, match="closed"):
        await answer(generator, "the")


def test_the_footprint_grows_with_slots_and_context(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.gguf")
    more = GenerationSettings(slots=4, context=2048)
    assert footprint_bytes(model, more) > footprint_bytes(model, SETTINGS) > 1 << 20


def test_a_grammar_holds_one_json_value_alone() -> None:
    grammar = grammar_of('{"const": "a\\nstart: b"}')
    assert len(grammar.splitlines()) == 2


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("invalid_request_error", BadRequest),
        ("unavailable_error", ModelUnavailable),
        ("server_error", ModelUnavailable),
    ],
)
def test_llamacpps_errors_become_ours(kind: str, error: type[Exception]) -> None:
    body = json.dumps({"error": {"code": 400, "message": "no", "type": kind}}).encode()
    assert type(refusal(body)) is error
