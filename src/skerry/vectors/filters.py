"""What a filter means over payloads, in plain Python, and how its fields are named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skerry.filters import MAX_CONDITIONS as MAX_CONDITIONS
from skerry.filters import MAX_DEPTH as MAX_DEPTH
from skerry.filters import Condition, Filter, Range
from skerry.filters import measure as measure

PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def engine_path(key: str) -> str:
    """A field's name as Qdrant's engine takes it, embedded or on a server.

    Unquoted, a dot would lead into a nested object; our payloads are flat.
    """
    return key if PLAIN.fullmatch(key) else f'"{key}"'


def holds(filter: Filter, payload: Mapping[str, Any]) -> bool:
    """Whether `payload` passes."""
    return (
        all(_passes(item, payload) for item in filter.must)
        and (not filter.should or any(_passes(item, payload) for item in filter.should))
        and not any(_passes(item, payload) for item in filter.must_not)
    )


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
