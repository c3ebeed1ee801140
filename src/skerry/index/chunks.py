"""What the index of documents knows of a chunk besides its vector, and the filters over that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skerry.vectors.base import Condition, FieldType, Filter, Range

Scalar = str | int | float | bool

# Metadata has no fields to announce: the embedded engine indexes what each is equal to, and only
# a range or an exception over metadata looks at every chunk, in slices.
CHUNK_FIELDS: Mapping[str, FieldType] = {
    "id": "keyword",
    "category": "keyword",
    "timestamp": "integer",
}


def chunk_payload(
    *,
    document: str,
    category: str | None,
    timestamp: int | None,
    metadata: Mapping[str, Scalar | list[Scalar]],
) -> dict[str, Any]:
    """The payload of one chunk: its document's id and fields, `metadata.NAME` for each of these.

    What the document has not is not there.
    """
    payload: dict[str, Any] = {f"metadata.{name}": value for name, value in metadata.items()}
    payload["id"] = document
    if category is not None:
        payload["category"] = category
    if timestamp is not None:
        payload["timestamp"] = timestamp
    return payload


def chunk_filter(
    *,
    ids: Sequence[str] | None = None,
    category: str | None = None,
    timestamp: Range | None = None,
    metadata: Mapping[str, str | int | bool] | None = None,
) -> Filter | None:
    """All that is given must hold of a chunk's document; None when nothing is given."""
    must: list[Filter | Condition] = []
    if ids is not None:
        must.append(Condition("id", any=tuple(ids)))
    if category is not None:
        must.append(Condition("category", value=category))
    if timestamp is not None and timestamp != Range():
        must.append(Condition("timestamp", range=timestamp))
    for name, value in (metadata or {}).items():
        must.append(Condition(f"metadata.{name}", value=value))
    return Filter(must=tuple(must)) if must else None
