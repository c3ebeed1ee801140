"""Filters in the engine's own types."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, cast

import numpy as np
import qdrant_edge as qe

from skerry.vectors.base import Condition, Filter, Range
from skerry.vectors.filters import engine_path
from skerry.vectors.pairs import PAIRS_FIELD, pair


def to_engine(filter: Filter, *, indexed: Collection[str]) -> qe.Filter:
    """The same filter as the engine takes it; `indexed` fields have an index of their own."""
    return qe.Filter(
        must=[_item(item, indexed) for item in filter.must] or None,
        should=[_item(item, indexed) for item in filter.should] or None,
        must_not=[_item(item, indexed) for item in filter.must_not] or None,
    )


def _item(item: Filter | Condition, indexed: Collection[str]) -> Any:
    if isinstance(item, Filter):
        return to_engine(item, indexed=indexed)
    key = engine_path(item.key)
    equal = _values(item) if item.key in indexed else _pairs(item)
    tests: list[Any] = list(equal)
    if item.except_ is not None:
        tests.append(qe.FieldCondition(key, match=qe.MatchExcept(_alike(item.except_))))
    if item.range is not None:
        tests.append(qe.FieldCondition(key, range=_range(item.range)))
    return tests[0] if len(tests) == 1 else qe.Filter(must=tests)


def _values(item: Condition) -> Iterator[Any]:
    key = engine_path(item.key)
    if item.value is not None:
        # The engine's binding takes True for the integer 1; it knows numpy's bool.
        value: Any = np.bool_(item.value) if isinstance(item.value, bool) else item.value
        yield qe.FieldCondition(key, match=qe.MatchValue(value))
    if item.any is not None:
        yield qe.FieldCondition(key, match=qe.MatchAny(_alike(item.any)))


def _pairs(item: Condition) -> Iterator[Any]:
    if item.value is not None:
        yield qe.FieldCondition(PAIRS_FIELD, match=qe.MatchValue(pair(item.key, item.value)))
    if item.any is not None:
        numbers = [pair(item.key, value) for value in item.any]
        yield qe.FieldCondition(PAIRS_FIELD, match=qe.MatchAny(numbers))


def _alike(values: tuple[str | int, ...]) -> list[str] | list[int]:
    # `measure` has refused a mixture.
    return cast("list[str] | list[int]", list(values))


def _range(range: Range) -> Any:
    return qe.RangeFloat(gt=range.gt, gte=range.gte, lt=range.lt, lte=range.lte)
