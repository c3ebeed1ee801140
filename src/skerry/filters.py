"""What a filter is, over vectors and rows alike: its types, and the bounds on its size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from skerry.errors import BadRequest

MAX_DEPTH = 8
MAX_CONDITIONS = 256
MAX_VALUES = 4096
INT64 = range(-(1 << 63), 1 << 63)

METADATA = "metadata."
"""What stands before the name of a document's own field in a condition's key."""
METADATA_NAME = re.compile(r'[^"\\\x00-\x1f\x7f]{1,128}')
KEY = re.compile(rf"[A-Za-z0-9_-]{{1,128}}|{re.escape(METADATA)}{METADATA_NAME.pattern}")


class Range(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Bounds on a number."""

    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


class Condition(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag="field"
):
    """Tests of a payload field: equals `value`, is one of `any`, none of `except_`, in `range`.

    Several tests in one condition must all hold. A list passes a test when an element does, and
    types are strict: true is not 1, and "1" is neither. A field that is absent passes no test.
    """

    key: str
    value: str | int | bool | None = None
    any: tuple[str | int, ...] | None = None
    except_: tuple[str | int, ...] | None = None
    range: Range | None = None


class Filter(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag="filter"
):
    """All of `must`, at least one of `should` (when any stand there), none of `must_not`."""

    must: tuple[Filter | Condition, ...] = ()
    should: tuple[Filter | Condition, ...] = ()
    must_not: tuple[Filter | Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class FilterSize:
    """How large a filter is: its conditions, and the values they name."""

    conditions: int
    values: int


def measure(filter: Filter) -> FilterSize:
    """The size of a filter; BadRequest when it is malformed or too large to be evaluated."""
    found = list(conditions(filter))
    if len(found) > MAX_CONDITIONS:
        raise BadRequest(f"The filter has more than {MAX_CONDITIONS} conditions.")
    values = 0
    for condition in found:
        _check(condition)
        values += len(condition.any or ()) + len(condition.except_ or ()) + 1
    if values > MAX_VALUES:
        raise BadRequest(f"The filter names more than {MAX_VALUES} values.")
    return FilterSize(len(found), values)


def all_of(*filters: Filter | None) -> Filter | None:
    """The filter that passes what passes each of `filters`; None when none is given."""
    given = tuple(one for one in filters if one is not None)
    if len(given) < 2:
        return given[0] if given else None
    return Filter(must=given)


def conditions(filter: Filter, *, depth: int = 1) -> Iterator[Condition]:
    """All conditions, however deep; BadRequest beyond MAX_DEPTH."""
    if depth > MAX_DEPTH:
        raise BadRequest(f"The filter is nested deeper than {MAX_DEPTH}.")
    for item in (*filter.must, *filter.should, *filter.must_not):
        if isinstance(item, Filter):
            yield from conditions(item, depth=depth + 1)
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
    if condition.range is not None and not all(map(_is_finite, _bounds(condition.range))):
        raise BadRequest(f"A bound in the condition on '{condition.key}' is not finite.")


def _bounds(range: Range) -> Iterator[float]:
    bounds = (range.gt, range.gte, range.lt, range.lte)
    return (bound for bound in bounds if bound is not None)


def _is_finite(bound: float) -> bool:
    try:
        return math.isfinite(bound)
    except OverflowError:  # a whole number beyond what a float can be
        return False
