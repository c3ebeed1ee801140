"""Filters over documents as they come in JSON: Qdrant's form, or the short one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from skerry.errors import BadRequest, FieldRefused, UnknownField
from skerry.filters import MAX_DEPTH, METADATA, Condition, Filter, Range, measure

CLAUSES = ("must", "should", "must_not")
FIELDS = ("id", "category", "timestamp", "metadata")
BOUNDS = ("gt", "gte", "lt", "lte")
MATCHES = ("value", "any", "except")
# Qdrant has these too.
UNSUPPORTED = (
    "nested", "is_null", "has_vector", "min_should", "geo_bounding_box", "geo_radius",
    "geo_polygon", "values_count", "text", "text_any", "phrase",
)  # fmt: skip

FIELDS_REMEDY = "Documents are filtered by id, category, timestamp and metadata.NAME."
QDRANT_REMEDY = "Write the filter with must, should, must_not, match, range, is_empty and has_id."
FORMS_REMEDY = (
    'Write {"category": …, "timestamp": {"gte": …}, "metadata": {…}}, or Qdrant\'s '
    '{"must": [{"key": …, "match": {"value": …}}]}.'
)


def filter_of(json: Any) -> Filter:
    """The filter that decoded JSON stands for; `{}` passes everything.

    Either Qdrant's `must`, `should` and `must_not`, or the short form `{"category": …,
    "timestamp": …, "metadata": {…}, "id": …}`, in which a list means any of its values and
    an object is a range. Times are Unix seconds or RFC 3339, taken for UTC without an offset.

    Raises BadRequest: UnknownField for a name that is not known, FieldRefused for what Qdrant
    has and Skerry has not, or for a value that cannot be used.
    """
    if not isinstance(json, Mapping):
        raise BadRequest("The filter must be an object.", remedy=FORMS_REMEDY)
    is_short = not json.keys().isdisjoint(FIELDS)
    wanted = Filter(must=tuple(_short(json))) if is_short else _filter(json, depth=1)
    measure(wanted)
    return wanted


# ---- the short form


def _short(json: Mapping[str, Any]) -> Iterator[Condition]:
    _refuse_unknown(json, FIELDS, "filter")
    for key in ("id", "category", "timestamp"):
        if key in json:
            yield _any_form(key, json[key])
    metadata = json.get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise FieldRefused("'metadata' in the filter must be an object.", field="filter.metadata")
    for name, wanted in metadata.items():
        yield _any_form(METADATA + name, wanted)


def _any_form(key: str, wanted: Any) -> Condition:
    if isinstance(wanted, Mapping):
        return Condition(key, range=_range(key, wanted))
    if isinstance(wanted, list):
        return Condition(key, any=_values(key, wanted))
    if key == "timestamp" and isinstance(wanted, str):
        at = _bound(key, wanted)
        return Condition(key, range=Range(gte=at, lte=at))
    return Condition(key, value=_value(key, wanted))


# ---- Qdrant's form


def _filter(json: Mapping[str, Any], *, depth: int) -> Filter:
    _refuse_unknown(json, CLAUSES, "filter")
    if depth > MAX_DEPTH:
        raise BadRequest(f"The filter is nested deeper than {MAX_DEPTH}.")
    must, should, must_not = (tuple(_items(json, name, depth=depth)) for name in CLAUSES)
    return Filter(must=must, should=should, must_not=must_not)


def _items(json: Mapping[str, Any], name: str, *, depth: int) -> Iterator[Filter | Condition]:
    items = json.get(name)
    for item in [] if items is None else items if isinstance(items, list) else [items]:
        if not isinstance(item, Mapping):
            message = f"'{name}' in the filter holds something that is no condition."
            raise FieldRefused(message, field=f"filter.{name}", remedy=QDRANT_REMEDY)
        yield _item(item, depth=depth)


def _item(json: Mapping[str, Any], *, depth: int) -> Filter | Condition:
    if "key" in json:
        return _condition(json)
    if "is_empty" in json:
        _refuse_unknown(json, ("is_empty",), "is_empty")
        inner = json["is_empty"]
        key = _key(inner.get("key") if isinstance(inner, Mapping) else None)
        # A field that is there is none of nothing.
        return Filter(must_not=(Condition(key, except_=()),))
    if "has_id" in json:
        _refuse_unknown(json, ("has_id",), "has_id")
        return Condition("id", any=_ids(json["has_id"]))
    return _filter(json, depth=depth + 1)


def _condition(json: Mapping[str, Any]) -> Condition:
    _refuse_unknown(json, ("key", "match", "range"), "condition")
    key = _key(json["key"])
    match, bounds = json.get("match"), json.get("range")
    if match is None and bounds is None:
        raise BadRequest(f"The condition on '{key}' tests nothing.", remedy=QDRANT_REMEDY)
    tests = {} if match is None else _match(key, match)
    return Condition(key, **tests, range=None if bounds is None else _range(key, bounds))


def _match(key: str, json: Any) -> dict[str, Any]:
    if not isinstance(json, Mapping) or len(json) != 1:
        message = f"'match' of '{key}' must be one of value, any and except."
        raise FieldRefused(message, field=f"filter.{key}")
    _refuse_unknown(json, MATCHES, "match")
    ((name, wanted),) = json.items()
    if name == "value":
        return {"value": _value(key, wanted)}
    return {"any" if name == "any" else "except_": _values(key, wanted)}


# ---- keys and values


def _key(key: Any) -> str:
    if isinstance(key, str):
        if key in FIELDS[:-1] or key.removeprefix(METADATA) not in ("", key):
            return key
        near = difflib.get_close_matches(key, FIELDS[:-1], n=1)
        guess = near[0] if near else f"{METADATA}{key[:80]}"
        message = f"Documents have no field '{key[:80]}'."
        raise UnknownField(message, remedy=f"{FIELDS_REMEDY} Do you mean '{guess}'?")
    raise BadRequest("A condition's 'key' must be a text.", remedy=FIELDS_REMEDY)


def _value(key: str, value: Any) -> str | int | bool:
    if isinstance(value, str | int):
        return value
    remedy = "Match a text, a whole number, true or false."
    if isinstance(value, float):
        remedy = 'Find fractions by a range: {"gte": …, "lte": …}.'
    message = f"'{key}' in the filter cannot be matched with this value."
    raise FieldRefused(message, field=f"filter.{key}", remedy=remedy)


def _values(key: str, values: Any) -> tuple[str | int, ...]:
    if isinstance(values, list) and not any(isinstance(value, bool) for value in values):
        return tuple(_value(key, value) for value in values)
    message = f"'{key}' in the filter needs a list of texts or of whole numbers."
    raise FieldRefused(message, field=f"filter.{key}")


def _ids(ids: Any) -> tuple[str, ...]:
    if isinstance(ids, list) and all(isinstance(one, str) for one in ids):
        return tuple(ids)
    message = "'has_id' must be a list of document ids, which are texts."
    raise FieldRefused(message, field="filter.has_id")


def _range(key: str, json: Any) -> Range:
    if not isinstance(json, Mapping):
        message = f"The range of '{key}' must be an object with gt, gte, lt or lte."
        raise FieldRefused(message, field=f"filter.{key}")
    _refuse_unknown(json, BOUNDS, "range")
    bounds = {name: _bound(key, bound) for name, bound in json.items() if bound is not None}
    above = [bounds[name] for name in ("gt", "gte") if name in bounds]
    below = [bounds[name] for name in ("lt", "lte") if name in bounds]
    if above and below and max(above) > min(below):
        message = f"The range of '{key}' is upside down: from {max(above)} to {min(below)}."
        raise FieldRefused(message, field=f"filter.{key}", remedy="Swap the two bounds.")
    return Range(**bounds)


def _bound(key: str, bound: Any) -> float:
    if isinstance(bound, int | float) and not isinstance(bound, bool):
        return bound
    if not isinstance(bound, str):
        raise FieldRefused(f"A bound of '{key}' must be a number.", field=f"filter.{key}")
    if key != "timestamp":
        message = f"A bound of '{key}' must be a number; only 'timestamp' takes dates."
        raise FieldRefused(message, field=f"filter.{key}")
    try:
        at = datetime.fromisoformat(bound)
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        message = f"'{bound[:40]}' is no date."
        remedy = "Write Unix seconds, or a date like 2026-01-31T12:00:00Z."
        raise FieldRefused(message, field="filter.timestamp", remedy=remedy) from None
    return int(seconds) if seconds.is_integer() else seconds


def _refuse_unknown(json: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for name in json:
        if name not in known:
            _refuse(name, known, where)


def _refuse(name: str, known: Collection[str], where: str) -> NoReturn:
    if name in UNSUPPORTED:
        message = f"The filter uses '{name}', which is not supported here."
        raise FieldRefused(message, field=f"filter.{name}", remedy=QDRANT_REMEDY)
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f"Do you mean '{near[0]}'?" if near else f"Known here: {', '.join(known)}."
    if where == "filter" and not near:
        remedy = FORMS_REMEDY
    raise UnknownField(f"The {where} has an unknown field '{name[:80]}'.", remedy=remedy)
