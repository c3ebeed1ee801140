"""The official clients, unmodified, get the calls of tools that they force.

The model is written here and knows nothing: no weights of one that was taught to call tools can be
had where these tests run. What it says is what the grammar leaves it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import pytest

from fast_model import ENVIRON, install_fast_model
from running_node import RunningNode, start_node
from skerry.models.store import ModelStore
from tiny_chat import write_tiny_chat
from tiny_gguf import WITH_TOOLS

openai = pytest.importorskip("openai", reason="Needs the openai client: pip install openai")
hub = pytest.importorskip("huggingface_hub", reason="Needs it: pip install huggingface_hub")

MODEL = "tiny"
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
SAMPLING: dict[str, Any] = {"model": MODEL, "temperature": 1.0, "seed": 3, "max_tokens": 1200}


class Place(pydantic.BaseModel):
    """Where; the schema refers to it by name."""

    city: Literal["Rome", "Oslo"]


class Weather(pydantic.BaseModel):
    """The weather at a place."""

    place: Place


class Switch(pydantic.BaseModel):
    """Turn the light on or off."""

    on: bool


TOOLS: Any = [openai.pydantic_function_tool(kind) for kind in (Weather, Switch)]
SWITCH: Any = {"type": "function", "function": {"name": "Switch"}}


@pytest.fixture(scope="module", params=["openvino", "llamacpp"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("tools")
    models = install_fast_model(folder / "models")
    file = write_tiny_chat(folder / "tiny.gguf", context=4096, template=WITH_TOOLS)
    ModelStore(models).add_chat(file, name=MODEL)
    environ = {
        **ENVIRON, "SKERRY_MODELS_CHAT": MODEL, "SKERRY_GENERATION_TYPE": request.param,
        "SKERRY_GENERATION_SLOTS": "2",
    }  # fmt: skip
    running = start_node(folder / "data", models=models, environ=environ)
    yield running
    running.kill()


@pytest.fixture
def client(node: RunningNode) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{node.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_required_call_is_parsed_into_the_users_type(client: Any) -> None:
    answer = client.chat.completions.parse(
        messages=MESSAGES, tools=TOOLS, tool_choice="required", parallel_tool_calls=False,
        **SAMPLING,
    )  # fmt: skip
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert isinstance(call.function.parsed_arguments, Weather | Switch)
    assert choice.message.content is None
    assert answer.usage.completion_tokens > 10


def test_a_named_call_comes_in_the_deltas_of_a_stream(client: Any) -> None:
    with client.chat.completions.stream(
        messages=MESSAGES, tools=TOOLS, tool_choice=SWITCH,
        stream_options={"include_usage": True}, **SAMPLING,
    ) as stream:  # fmt: skip
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    (choice,) = answer.choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "Switch")
    assert isinstance(call.function.parsed_arguments, Switch)
    assert answer.usage.completion_tokens > 10


def test_a_conversation_goes_on_with_what_the_tool_told(client: Any) -> None:
    asked = {"tools": TOOLS, **SAMPLING}
    said = client.chat.completions.create(messages=MESSAGES, tool_choice=SWITCH, **asked)
    message = said.choices[0].message
    told = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "It is on."}
    answer = client.chat.completions.create(
        messages=[*MESSAGES, message, told], tool_choice="none", **asked | {"max_tokens": 5}
    )
    assert answer.choices[0].message.tool_calls is None
    assert answer.usage.prompt_tokens > 20


def test_hugging_faces_client_forces_calls_too(node: RunningNode) -> None:
    client = hub.InferenceClient(base_url=f"{node.url}/v1")
    tools = json.loads(json.dumps(TOOLS))
    for choice in ("required", {"function": {"name": "Switch"}}):
        answer = client.chat_completion(MESSAGES, tools=tools, tool_choice=choice, **SAMPLING)
        (call,) = answer.choices[0].message.tool_calls
        assert call.function.name in ("Weather", "Switch")
        json.loads(call.function.arguments)


@pytest.mark.parametrize("choice", [{"type": "function", "function": {"name": "Fly"}}, "always"])
def test_a_call_of_what_is_no_tool_is_refused_by_name(client: Any, choice: Any) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(
            messages=MESSAGES, tools=TOOLS, tool_choice=choice, **SAMPLING
        )
    assert raised.value.body["param"] == "tool_choice"
