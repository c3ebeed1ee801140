"""An answer that has to be a call is held to a schema of which every reference is found."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest

from skerry.errors import Unprocessable
from skerry.generation.base import GenerationRequest, Sampling, Tool
from skerry.generation.forced_calls import call_schema, held_to_calls

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}},
    "required": ["x"],
    "additionalProperties": False,
}
LINE = {
    "properties": {"from": {"$ref": "#/$defs/Point"}, "to": {"$ref": "#/definitions/Point"}},
    "required": ["from"],
    "$defs": {"Point": POINT},
    "definitions": {"Point": POINT},
}
LIST = {"properties": {"next": {"$ref": "#"}}, "additionalProperties": False}


def fits(schema: str, name: str, arguments: Any) -> bool:
    validator = jsonschema.Draft202012Validator(json.loads(schema))
    return bool(validator.is_valid({"name": name, "arguments": arguments}))


def test_a_call_has_the_name_of_a_tool_and_its_arguments() -> None:
    schema = call_schema([Tool(name="point", parameters=POINT), Tool(name="now")])
    assert fits(schema, "point", {"x": 1})
    assert fits(schema, "now", {"any": "thing"})
    assert not fits(schema, "point", {"x": "1"})
    assert not fits(schema, "now", "later")
    assert not fits(schema, "other", {})
    assert not fits(call_schema([Tool(name="point", parameters=POINT)]), "now", {})


def test_references_are_followed_in_each_tools_own_definitions() -> None:
    other = {"properties": {"at": {"$ref": "#/$defs/Point"}}, "$defs": {"Point": {"const": 7}}}
    schema = call_schema([Tool(name="line", parameters=LINE), Tool(name="at", parameters=other)])
    assert fits(schema, "line", {"from": {"x": 1}, "to": {"x": 2}})
    assert not fits(schema, "line", {"from": {"x": 1}, "to": {}})
    assert fits(schema, "at", {"at": 7})
    assert not fits(schema, "at", {"at": {"x": 1}})


def test_parameters_that_hold_themselves_do_so_without_end() -> None:
    schema = call_schema([Tool(name="list", parameters=LIST)])
    assert fits(schema, "list", {"next": {"next": {}}})
    assert not fits(schema, "list", {"next": {"last": {}}})


def test_a_property_may_be_called_as_a_keyword_is() -> None:
    parameters = {
        "properties": {"$ref": {"type": "integer"}, "enum": {"$ref": "#/$defs/P"}},
        "const": {"$ref": "#/elsewhere", "enum": 1},
        "$defs": {"P": {"type": "integer"}},
    }
    schema = call_schema([Tool(name="f", parameters=parameters)])
    assert fits(schema, "f", {"$ref": "#/elsewhere", "enum": 1}) is False  # $ref is no integer
    held = json.loads(schema)["$defs"]["tool0"]
    assert held["const"] == parameters["const"]
    assert held["properties"]["enum"] == {"$ref": "#/$defs/tool0.P"}


@pytest.mark.parametrize("target", ["#/properties/a", "http://else.where/schema", "#anchor"])
def test_a_reference_to_elsewhere_is_refused(target: str) -> None:
    with pytest.raises(Unprocessable, match="cannot be followed"):
        call_schema([Tool(name="f", parameters={"properties": {"a": {"$ref": target}}})])


def test_parameters_without_end_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"items": deep}
    with pytest.raises(Unprocessable, match="nested too deeply"):
        call_schema([Tool(name="f", parameters=deep)])


def test_only_the_forced_tools_can_be_called() -> None:
    tools = (Tool(name="f"), Tool(name="g"))
    free = GenerationRequest(prompt="", tools=tools, sampling=Sampling())
    assert held_to_calls(free) is free
    held = held_to_calls(msgspec.structs.replace(free, forced=("g",)))
    assert held.tools == tools
    assert held.sampling.json_schema is not None
    assert fits(held.sampling.json_schema, "g", {})
    assert not fits(held.sampling.json_schema, "f", {})
