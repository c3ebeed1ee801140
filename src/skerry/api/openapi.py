"""`/openapi.json`: OpenAPI 3.1, derived from the routes and the Structs they declare."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from skerry import __version__
from skerry.api.contract import Answer, Dialect, Exchange, Route
from skerry.api.faults import ErrorAnswer, OpenAIErrorAnswer, TeiErrorAnswer

TEMPLATE = "#/components/schemas/{name}"
ERRORS = {
    400: "Unreadable, malformed or out of range; unknown fields are named.",
    401: "No key, or one that is unknown, revoked or expired.",
    403: "The key's scope, the Host or the Origin does not allow this.",
    404: "Nothing stands under this id, name or path.",
    405: "The path exists, the method does not; see Allow.",
    408: "The body stopped arriving.",
    409: "Contradicts what is stored.",
    413: "Body or pixels pass the bound.",
    415: "The body has a form this path does not read.",
    416: "The range lies outside the file.",
    422: "Well-formed, but refused by the model.",
    424: "The model does something else.",
    429: "Overloaded; see Retry-After.",
    503: "Overloaded or a part is not ready; see Retry-After.",
    507: "The disk is full; nothing was stored.",
}
ERROR_SHAPES: dict[Dialect, type[msgspec.Struct]] = {
    "native": ErrorAnswer,
    "openai": OpenAIErrorAnswer,
    "tei": TeiErrorAnswer,
}
EVENTS = "text/event-stream"
BINARY = {"type": "string", "format": "binary"}
FILE_FORM = {
    "type": "object",
    "properties": {
        "file": {"type": "array", "items": BINARY, "minItems": 1},
        "uploaded_by": {"type": "string"},
        "tags": {"type": "string", "description": "A JSON object."},
    },
    "required": ["file"],
    "additionalProperties": False,
}
DOCUMENT_FORM = {
    "type": "object",
    "properties": {
        "file": {"type": "array", "items": BINARY, "minItems": 1},
        "id": {"type": "string", "description": "Of a single file; else its name."},
        "title": {"type": "string", "description": "Of a single file; else what it states."},
        "category": {"type": "string"},
        "timestamp": {"type": "string", "description": "Unix seconds or RFC 3339."},
        "metadata": {"type": "string", "description": "A JSON object."},
    },
    "required": ["file"],
    "additionalProperties": False,
}
ONE_FILE = {
    "type": "object",
    "properties": {"file": BINARY},
    "required": ["file"],
    "additionalProperties": False,
}
SEARCH_FORM = {
    "type": "object",
    "properties": {
        "file": BINARY,
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "filter": {"type": "string", "description": "The JSON of a filter."},
    },
    "required": ["file"],
    "additionalProperties": False,
}
BASE64 = {
    "type": "object",
    "properties": {"image": {"type": "string", "contentEncoding": "base64"}},
    "required": ["image"],
    "additionalProperties": False,
}


def openapi_route(spoken: list[Route]) -> Route:
    """The route that serves the description of `spoken` and of itself."""
    encoded: list[bytes] = []

    async def describe(_: Exchange) -> Answer:
        if not encoded:
            encoded.append(msgspec.json.encode(document([*spoken, route])))
        return Answer(200, encoded[0])

    route = Route(
        "GET", "/openapi.json", "public", describe, "This description.", answers={200: dict}
    )
    return route


def document(spoken: list[Route]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    schemas, components = _schemas(spoken)
    paths: dict[str, dict[str, Any]] = {}
    for route in spoken:
        path = route.path.replace(":path}", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Skerry",
            "version": __version__,
            "description": "An edge AI node: recognise an image and find its like.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _schemas(spoken: list[Route]) -> tuple[dict[Any, Any], dict[str, Any]]:
    wanted: dict[Any, None] = dict.fromkeys(ERROR_SHAPES.values())
    for route in spoken:
        wanted[route.query] = None
        if route.body_type:
            wanted[route.body_type] = None
        for answer in route.answers.values():
            if answer is not None and not isinstance(answer, str):
                wanted[answer] = None
    found, components = msgspec.json.schema_components(list(wanted), ref_template=TEMPLATE)
    return dict(zip(wanted, found, strict=True)), dict(components)


def _operation(route: Route, schemas: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route, components)],
        "responses": _responses(route, schemas),
        "x-skerry-scope": route.access,
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route, schemas)}
    if route.access != "public":
        operation["security"] = [{"key": []}, {"header": []}, {}]
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = [part[1:-1].split(":")[0] for part in route.path.split("/") if part[:1] == "{"]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]


def _query_parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    properties = components[route.query.__name__].get("properties", {})
    parameters = []
    for name, schema in properties.items():
        if name == route.free_field and route.free_query:
            continue
        parameters.append({"name": name, "in": "query", "required": False, "schema": schema})
    if route.free_query:
        parameters.append(
            {
                "name": route.free_field,
                "in": "query",
                "required": False,
                "style": "form",
                "explode": True,
                "description": f"Any number of {route.free_query}NAME=value.",
                "schema": {
                    "type": "object",
                    "patternProperties": {f"^{re.escape(route.free_query)}.+": {"type": "string"}},
                    "additionalProperties": False,
                },
            }
        )
    return parameters


def _content(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    if route.body == "json":
        return {"application/json": {"schema": schemas[route.body_type]}}
    if route.body == "image":
        return {
            "multipart/form-data": {"schema": ONE_FILE},
            "image/*": {"schema": BINARY},
            "application/json": {"schema": BASE64},
        }
    if route.body == "documents":
        document = schemas[route.body_type]
        return {
            "application/json": {
                "schema": {"anyOf": [document, {"type": "array", "items": document}]}
            },
            "application/x-ndjson": {"schema": BINARY},
            "text/csv": {"schema": BINARY},
            "multipart/form-data": {"schema": DOCUMENT_FORM},
        }
    if route.body_type is not None:
        return {
            "application/json": {"schema": schemas[route.body_type]},
            "multipart/form-data": {"schema": SEARCH_FORM},
        }
    return {"multipart/form-data": {"schema": FILE_FORM}, "image/*": {"schema": BINARY}}


def _responses(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    refusal = schemas[ERROR_SHAPES[route.errors_as]]
    for status, answer in route.answers.items():
        body = _body(answer, schemas)
        if status == 400:
            # Of many things each was refused, for a reason of its own; or the body as a whole.
            either = {"anyOf": [schemas[answer], refusal]}
            body = {"content": {"application/json": {"schema": either}}}
        if status == 200 and route.streams:
            # OpenAPI 3.1 has no words for the single events.
            body["content"][EVENTS] = {}
        responses[str(status)] = {"description": route.summary, **body}
    errors = {400, 403, 503, *route.errors}
    if route.access != "public":
        errors.add(401)
    if route.body is not None:
        errors |= {408, 413}
    for status in sorted(errors - set(route.answers)):
        responses[str(status)] = {
            "description": ERRORS[status],
            "content": {"application/json": {"schema": refusal}},
        }
    return responses


def _body(answer: Any, schemas: dict[Any, Any]) -> dict[str, Any]:
    if answer is None:
        return {}
    if isinstance(answer, str):
        return {"content": {answer: {"schema": BINARY}}}
    return {"content": {"application/json": {"schema": schemas[answer]}}}
