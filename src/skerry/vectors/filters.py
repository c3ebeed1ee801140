"""Filters over payloads: bounds on their size, and their meaning in plain Python."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from skerry.errors import BadRequest
from skerry.vectors.base import Condition, Filter, Range

MAX_DEPTH = 8
MAX_CONDITIONS = 256
MAX_VALUES = 4096
INT64 = range(-(1 << 63), 1 << 63)
KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class FilterSize:
    """How large a filter is: its conditions, the values they name, and the fields they read."""

    conditions: int
    values: int
    fields: frozenset[str]


def measure(filter: Filter) -> FilterSize:
    """The size of a filter; BadRequest when it is malformed or too large to be evaluated."""
    conditions = list(_conditions(filter, depth=1))
    if len(conditions) > MAX_CONDITIONS:
        raise BadRequest(f"The filter has more than {MAX_CONDITIONS} conditions.")
    values = 0
    for condition in conditions:
        _check(condition)
        values += len(condition.any or ()) + len(condition.except_ or ()) + 1
    if values > MAX_VALUES:
        raise BadRequest(f"The filter names more than {MAX_VALUES} values.")
    return FilterSize(len(conditions), values, frozenset(c.key for c in conditions))


def holds(filter: Filter, payload: Mapping[str, Any]) -> bool:
    """Whether `payload` passes."""
    return (
        all(_passes(item, payload) for item in filter.must)
        and (not filter.should or any(_passes(item, payload) for item in filter.should))
        and not any(_passes(item, payload) for item in filter.must_not)
    )


def _conditions(filter: Filter, *, depth: int) -> Iterator[Condition]:
    if depth > MAX_DEPTH:
        raise BadRequest(f"The filter is nested deeper than {MAX_DEPTH}.")
    for item in (*filter.must, *filter.should, *filter.must_not):
        if isinstance(item, Filter):
            yield from _conditions(item, depth=depth + 1)
        else:
            yield item


def _check(condition: Condition) -> None:
    if not KEY.fullmatch(condition.key):
        raise BadRequest(f"'{condition.key[:80]}' is no field name.")
    tests = (condition.value, condition.any, condition.except_, condition.range)
    if all(test is None for test in tests):
        raise BadRequest(f"The condition on '{condition.key}' tests nothing.")
    for values in (condition.any or (), condition.except_ or ()):
        if len({type(value) for value in values}) > 1:
            raise BadRequest(f"The condition on '{condition.key}' mixes text and numbers.")
    for value in (condition.value, *(condition.any or ()), *(condition.except_ or ())):
        if isinstance(value, int) and value not in INT64:
            raise BadRequest(f"A whole number in the condition on '{condition.key}' is too large.")
    if condition.range is not None and not all(map(math.isfinite, _bounds(condition.range))):
        raise BadRequest(f"A bound in the condition on '{condition.key}' is not finite.")


def _bounds(range: Range) -> Iterator[float]:
    bounds = (range.gt, range.gte, range.lt, range.lte)
    return (float(bound) for bound in bounds if bound is not None)


def _passes(item: Filter | Condition, payload: Mapping[str, Any]) -> bool:
    if isinstance(item, Filter):
        return holds(item, payload)
    found = payload.get(item.key)
    values = found if isinstance(found, list) else [found]
    return (
        (item.value is None or any(_equal(item.value, value) for value in values))
        and (item.any is None or any(_one_of(item.any, value) for value in values))
        and (item.except_ is None or any(_none_of(item.except_, value) for value in values))
        and (item.range is None or any(_inside(item.range, value) for value in values))
    )


def _equal(wanted: str | int | bool, value: Any) -> bool:
    return type(wanted) is type(value) and wanted == value


def _one_of(wanted: tuple[str | int, ...], value: Any) -> bool:
    return any(_equal(item, value) for item in wanted)


def _none_of(unwanted: tuple[str | int, ...], value: Any) -> bool:
    return value is not None and not _one_of(unwanted, value)


def _inside(range: Range, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (
        (range.gt is None or value > range.gt)
        and (range.gte is None or value >= range.gte)
        and (range.lt is None or value < range.lt)
        and (range.lte is None or value <= range.lte)
    )
