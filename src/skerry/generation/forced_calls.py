"""Hold an answer to a call of a tool, by the JSON schema of all such calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from skerry.errors import Unprocessable
from skerry.generation.base import GenerationRequest, Tool
from skerry.generation.json_schemas import NAMED, VALUES

DEFINITIONS = ("$defs", "definitions")
ROOT_ONLY = ("$schema", "$id", *DEFINITIONS)
REFERENCE = re.compile(r"#/(?:\$defs|definitions)/([^/]+)(/.*)?")


def held_to_calls(request: GenerationRequest) -> GenerationRequest:
    """The request with the schema that its answer has to fit when it has to be a call.

    Raises Unprocessable for parameters that cannot stand in a larger schema.
    """
    if not request.forced:
        return request
    tools = [tool for tool in request.tools if tool.name in request.forced]
    sampling = msgspec.structs.replace(request.sampling, json_schema=call_schema(tools))
    return msgspec.structs.replace(request, sampling=sampling)


def call_schema(tools: Sequence[Tool]) -> str:
    """JSON schema, as text, of a call of one of the tools, in the form `ToolCallReader` reads."""
    calls: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for index, tool in enumerate(tools):
        place = f"tool{index}"
        definitions |= _definitions(tool, place)
        calls.append(_call(tool.name, place))
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return msgspec.json.encode(schema | {"$defs": definitions}).decode()


def _call(name: str, place: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{place}"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _definitions(tool: Tool, place: str) -> dict[str, Any]:
    """The parameters, and what they define, under names that no other tool has."""
    parameters = tool.parameters
    own = {key: value for key, value in parameters.items() if key not in ROOT_ONLY}
    found = {place: {"type": "object"} | own}
    for word in DEFINITIONS:
        named = parameters.get(word, {})
        if isinstance(named, dict):
            found |= {f"{place}.{name}": value for name, value in named.items()}
    try:
        return {name: _moved(value, place) for name, value in found.items()}
    except RecursionError as error:
        raise Unprocessable(f"The parameters of '{tool.name}' are nested too deeply.") from error


def _moved(schema: Any, place: str) -> Any:
    """The schema with its references to where its definitions stand now."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            moved[key] = _reference(value, place)
        elif key in NAMED and isinstance(value, dict):
            moved[key] = {name: _moved(inner, place) for name, inner in value.items()}
        else:
            moved[key] = value if key in VALUES else _moved(value, place)
    return moved


def _reference(target: str, place: str) -> str:
    if target == "#":
        return f"#/$defs/{place}"
    found = REFERENCE.fullmatch(target)
    if found is None:
        raise Unprocessable(
            f"The parameters of a tool refer to '{target[:100]}', which cannot be followed.",
            remedy="Refer to '#' or to a schema under '#/$defs/'.",
        )
    return f"#/$defs/{place}.{found[1]}{found[2] or ''}"
