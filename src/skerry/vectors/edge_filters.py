"""Filters in the engine's own types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import qdrant_edge as qe

from skerry.vectors.base import Condition, Filter, Range
from skerry.vectors.filters import engine_path


def to_engine(filter: Filter) -> qe.Filter:
    """The same filter as the engine takes it."""
    return qe.Filter(
        must=[_item(item) for item in filter.must] or None,
        should=[_item(item) for item in filter.should] or None,
        must_not=[_item(item) for item in filter.must_not] or None,
    )


def _item(item: Filter | Condition) -> Any:
    if isinstance(item, Filter):
        return to_engine(item)
    key = engine_path(item.key)
    tests: list[Any] = [qe.FieldCondition(key, match=match) for match in _matches(item)]
    if item.range is not None:
        tests.append(qe.FieldCondition(key, range=_range(item.range)))
    return tests[0] if len(tests) == 1 else qe.Filter(must=tests)


def _matches(item: Condition) -> Iterator[Any]:
    if item.value is not None:
        # The engine's binding takes True for the integer 1; it knows numpy's bool.
        value: Any = np.bool_(item.value) if isinstance(item.value, bool) else item.value
        yield qe.MatchValue(value)
    if item.any is not None:
        yield qe.MatchAny(_alike(item.any))
    if item.except_ is not None:
        yield qe.MatchExcept(_alike(item.except_))


def _alike(values: tuple[str | int, ...]) -> list[str] | list[int]:
    # `measure` has refused a mixture.
    return cast("list[str] | list[int]", list(values))


def _range(range: Range) -> Any:
    return qe.RangeFloat(gt=range.gt, gte=range.gte, lt=range.lt, lte=range.lte)
