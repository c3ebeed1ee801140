"""Filters as a Qdrant server takes them."""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_client import models

from skerry.vectors.base import Condition, Filter, Range
from skerry.vectors.filters import engine_path


def to_server(filter: Filter) -> models.Filter:
    """The same filter in the server's model: everything ours says, it can say exactly."""
    return models.Filter(
        must=[_item(item) for item in filter.must] or None,
        should=[_item(item) for item in filter.should] or None,
        must_not=[_item(item) for item in filter.must_not] or None,
    )


def _item(item: Filter | Condition) -> models.Condition:
    if isinstance(item, Filter):
        return to_server(item)
    key = engine_path(item.key)
    tests = [models.FieldCondition(key=key, match=match) for match in _matches(item)]
    if item.range is not None:
        tests.append(models.FieldCondition(key=key, range=_range(item.range)))
    return tests[0] if len(tests) == 1 else models.Filter(must=[*tests])


def _matches(item: Condition) -> Iterator[models.Match]:
    if item.value is not None:
        yield models.MatchValue(value=item.value)
    if item.any is not None:
        yield models.MatchAny(any=_alike(item.any))
    if item.except_ is not None:
        yield models.MatchExcept(**{"except": _alike(item.except_)})


def _alike(values: tuple[str | int, ...]) -> list[str] | list[int]:
    # `measure` has refused a mixture.
    return list(values)  # type: ignore[return-value]


def _range(range: Range) -> models.Range:
    return models.Range(gt=range.gt, gte=range.gte, lt=range.lt, lte=range.lte)
