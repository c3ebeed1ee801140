"""Fields that no index was announced for, found by what they are equal to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from skerry.filters import Filter, conditions

PAIRS_FIELD = "__pairs"
"""Lists a point's pairs of field and value, each as a number."""


def pair(name: str, value: str | int | bool) -> int:
    """The number of "`name` is `value`"; types are strict, true is not 1.

    A hash of 64 bits: among a hundred million pairs, two coincide once in thousands of nodes.
    """
    said = msgspec.json.encode((name, value))
    return int.from_bytes(blake2b(said, digest_size=8).digest(), signed=True)


def pairs_of(payload: Mapping[str, Any], indexed: Collection[str]) -> list[int]:
    """The pairs of a payload's fields that have no index of their own; fractions are in none."""
    return [
        pair(name, value)
        for name, found in payload.items()
        if name not in indexed
        for value in (found if isinstance(found, list) else (found,))
        if isinstance(value, str | int)
    ]


def reads_payloads(filter: Filter, indexed: Collection[str]) -> bool:
    """Whether a point's payload has to be read to say if it passes: no index knows."""
    return any(
        item.key not in indexed and (item.range is not None or item.except_ is not None)
        for item in conditions(filter)
    )
