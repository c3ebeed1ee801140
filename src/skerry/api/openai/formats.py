"""`response_format`: the JSON an answer has to be."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from skerry.errors import FieldRefused

ANY_OBJECT = '{"type":"object"}'


class JsonSchemaFormat(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A JSON schema with its name; it is enforced whether or not it is called strict."""

    name: str
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Free text, any JSON object, or what a schema says."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None
    value: dict[str, Any] | None = None
    """The schema as Hugging Face's client sends it beside `json_object`."""


def schema_of(given: ResponseFormat | None) -> str | None:
    """The schema to enforce, as JSON text; None for free text."""
    if given is None or given.type == "text":
        return None
    if given.type == "json_object":
        return ANY_OBJECT if given.value is None else _text(given.value)
    if given.json_schema is None or given.json_schema.schema is None:
        raise FieldRefused(
            "'response_format' of the type 'json_schema' has no schema.",
            field="response_format.json_schema",
        )
    return _text(given.json_schema.schema)


def _text(schema: dict[str, Any]) -> str:
    return msgspec.json.encode(schema).decode()
