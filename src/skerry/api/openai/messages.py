"""The conversation and the tools of a chat request, as the generator takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from skerry.errors import FieldRefused
from skerry.generation.base import Message, Role, Tool, ToolCall

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


class ContentPart(msgspec.Struct):
    """A piece of a message; only text can be read."""

    type: str
    text: str | None = None


class FunctionCall(msgspec.Struct, forbid_unknown_fields=True):
    """A call of a function; `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCallJson(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A call the model asked for."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A turn of the conversation; an answer of this node can be sent back as it is."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCallJson] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: Any = None
    function_call: Any = None


class FunctionJson(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A function the model may ask for."""

    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolJson(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A tool; only functions are known."""

    type: Literal["function"]
    function: FunctionJson


class NamedFunction(msgspec.Struct, forbid_unknown_fields=True):
    """The function that must be called."""

    name: str


class NamedTool(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The tool that must be called; Hugging Face's client leaves the type out."""

    type: Literal["function"] = "function"
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool


def conversation(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The messages; FieldRefused for roles and contents that cannot be read."""
    return tuple(_message(given, f"messages[{i}]") for i, given in enumerate(messages))


def tools_of(given: Sequence[ToolJson] | None, choice: ToolChoice | None) -> tuple[Tool, ...]:
    """The functions the model may ask for; FieldRefused for what cannot be promised."""
    if not given or choice == "none":
        return ()
    enforced = choice == "required" or isinstance(choice, NamedTool)
    return tuple(
        _tool(tool.function, f"tools[{i}]", enforced=enforced) for i, tool in enumerate(given)
    )


def forced_of(tools: Sequence[Tool], choice: ToolChoice | None) -> tuple[str, ...]:
    """Names of the functions, one of which has to be called; FieldRefused when there is none."""
    names = tuple(tool.name for tool in tools)
    if choice == "required":
        forced = names
    elif isinstance(choice, NamedTool):
        forced = tuple(name for name in names if name == choice.function.name)[:1]
    else:
        return ()
    if not forced:
        raise FieldRefused(
            "The function that has to be called is not among the tools.",
            field="tool_choice",
            remedy=f"The tools are: {', '.join(names)}." if names else "Send it in 'tools'.",
        )
    return forced


def call_json(call: ToolCall) -> ToolCallJson:
    """The wire form of a call."""
    return ToolCallJson(id=call.id, function=FunctionCall(call.name, call.arguments))


def _message(given: ChatMessage, where: str) -> Message:
    role = ROLES.get(given.role)
    if role is None:
        raise FieldRefused(
            f"The role '{given.role[:40]}' is unknown.",
            field=f"{where}.role",
            remedy=f"Use one of: {', '.join(ROLES)}.",
        )
    _refuse_extras(given, where)
    if role == "tool" and not given.tool_call_id:
        raise FieldRefused(
            "A message of the role 'tool' names the call it answers.",
            field=f"{where}.tool_call_id",
        )
    calls = tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in given.tool_calls or ()
    )
    if given.content is None and not calls:
        raise FieldRefused("The message has no content.", field=f"{where}.content")
    return Message(
        role=role,
        content=_text(given.content, where),
        tool_calls=calls,
        tool_call_id=given.tool_call_id or "",
    )


def _refuse_extras(given: ChatMessage, where: str) -> None:
    refused = {"refusal": given.refusal, "audio": given.audio, "function_call": given.function_call}
    if given.role != "tool":
        refused |= {"name": given.name, "tool_call_id": given.tool_call_id}
    if given.role != "assistant":
        refused["tool_calls"] = given.tool_calls
    for name, value in refused.items():
        if value:
            raise FieldRefused(
                f"'{name}' is not supported in a message of the role '{given.role}'.",
                field=f"{where}.{name}",
                remedy="Leave it out.",
            )


def _text(content: str | list[ContentPart] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for i, part in enumerate(content):
        if part.type != "text" or part.text is None:
            raise FieldRefused(
                f"A content part of the type '{part.type[:40]}' is not supported: "
                "this node's language models read text.",
                field=f"{where}.content[{i}]",
                remedy='Send {"type": "text", "text": "..."}.',
            )
        texts.append(part.text)
    return "\n".join(texts)


def _tool(function: FunctionJson, where: str, *, enforced: bool) -> Tool:
    if function.strict and not enforced:
        raise FieldRefused(
            "The arguments of a function are enforced only where it has to be called.",
            field=f"{where}.function.strict",
            remedy="Leave 'strict' out, or set 'tool_choice' to 'required' or to the function.",
        )
    return Tool(
        name=function.name,
        description=function.description or "",
        parameters=function.parameters or {},
    )
