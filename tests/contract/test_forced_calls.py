"""Every local runtime holds an answer to a call of a tool, whatever the model would rather say.

The model is written here and knows nothing: no weights of one that was taught to call tools can be
had where these tests run.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import jsonschema
import pytest
import pytest_asyncio

from skerry.backends import backend_class
from skerry.config import GenerationSettings
from skerry.errors import BadRequest, Unprocessable
from skerry.generation.base import (
    Delta,
    Event,
    Finished,
    GenerationRequest,
    Generator,
    Message,
    Sampling,
    Tool,
)
from skerry.metrics import Metrics
from skerry.models.store import ModelStore
from tiny_chat import write_tiny_chat
from tiny_gguf import WITH_TOOLS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

CONTEXT = 2048
WEATHER = Tool(
    name="weather",
    description="Weather at a place",
    parameters={
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}},
        "required": ["place"],
        "additionalProperties": False,
        "$defs": {"Place": {"enum": ["Rome", "Oslo"]}},
    },
)
SWITCH = Tool(
    name="switch",
    parameters={
        "type": "object",
        "properties": {"on": {"type": "boolean"}},
        "required": ["on"],
        "additionalProperties": False,
    },
)
TOOLS = (WEATHER, SWITCH)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["openvino", "llamacpp"])
async def generator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Generator]:
    folder = tmp_path_factory.mktemp("tools")
    file = write_tiny_chat(folder / "tiny.gguf", template=WITH_TOOLS)
    model = ModelStore(folder / "models").add_chat(file, name="tiny")
    settings = GenerationSettings(slots=2, context=CONTEXT, threads=1)
    kind = backend_class("generation", request.param)
    opened: Any = kind(model, settings=settings, metrics=Metrics())
    await opened.open()
    yield opened
    await opened.close()


def asked(*forced: str, tools: tuple[Tool, ...] = TOOLS, **sampling: Any) -> GenerationRequest:
    return GenerationRequest(
        prompt=(Message(role="user", content="Hi"),),
        tools=tools,
        forced=forced,
        # OpenVINO's grammar allows as many spaces as a model likes: chance ends them.
        sampling=Sampling(**{"temperature": 1.0, "seed": 3, "max_tokens": 1200} | sampling),
    )


async def events_of(generator: Generator, request: GenerationRequest) -> list[Event]:
    async with aclosing(generator.generate(request)) as events:
        return [event async for event in events]


@pytest.mark.parametrize("forced", [("weather",), ("switch",), ("weather", "switch")])
async def test_a_forced_call_comes_with_arguments_that_fit(
    generator: Generator, forced: tuple[str, ...]
) -> None:
    *deltas, end = await events_of(generator, asked(*forced))
    assert isinstance(end, Finished)
    (call,) = end.tool_calls
    assert (end.reason, call.name in forced) == ("tool_calls", True)
    (tool,) = (tool for tool in TOOLS if tool.name == call.name)
    jsonschema.validate(json.loads(call.arguments), tool.parameters)
    assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)).strip() == ""
    assert call.id
    assert end.completion_tokens > len(call.arguments) / 4


async def test_calls_of_one_request_have_names_of_their_own(generator: Generator) -> None:
    ends = [(await events_of(generator, asked("switch")))[-1] for _ in range(2)]
    ids = [end.tool_calls[0].id for end in ends if isinstance(end, Finished)]
    assert len(set(ids)) == 2


async def test_log_probabilities_are_those_of_all_tokens(generator: Generator) -> None:
    *deltas, end = await events_of(generator, asked("switch", logprobs=0))
    assert isinstance(end, Finished)
    told = [token for delta in deltas if isinstance(delta, Delta) for token in delta.logprobs]
    assert end.completion_tokens - 1 <= len(told) <= end.completion_tokens
    said = json.loads("".join(token.text for token in told))
    assert said == {"name": "switch", "arguments": json.loads(end.tool_calls[0].arguments)}


async def test_a_call_that_is_cut_is_told_as_the_text_it_is(generator: Generator) -> None:
    *deltas, end = await events_of(generator, asked("weather", max_tokens=9))
    assert isinstance(end, Finished)
    assert (end.reason, end.tool_calls, end.completion_tokens) == ("length", (), 9)
    text = "".join(delta.text for delta in deltas if isinstance(delta, Delta))
    assert text.startswith("{")


async def test_parameters_that_make_no_grammar_are_refused(generator: Generator) -> None:
    bad = Tool(name="bad", parameters={"properties": {"a": {"$ref": "#/$defs/nowhere"}}})
    with pytest.raises((Unprocessable, BadRequest)):
        await events_of(generator, asked("bad", tools=(bad,)))
    assert await events_of(generator, asked("switch"))
