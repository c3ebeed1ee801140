"""What the image index knows of an image besides its vector, and the filters over that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from skerry.vectors.base import Condition, FieldType, Filter, Range

# Every field is indexed, so a search by any filter of the image API has a bounded cost.
IMAGE_FIELDS: Mapping[str, FieldType] = {
    "uploaded_by": "keyword",
    "created_at": "integer",
    "label": "keyword",
    "tags": "keyword",
}


def image_payload(
    *,
    uploaded_by: str,
    created_at: int,
    labels: Iterable[str],
    tags: Mapping[str, str | int | float | bool],
) -> dict[str, Any]:
    """The payload of one image.

    `labels` are the names it is found by: the best label and its synonyms.
    """
    return {
        "uploaded_by": uploaded_by,
        "created_at": created_at,
        "label": sorted({label.casefold() for label in labels}),
        "tags": [tag_term(name, value) for name, value in sorted(tags.items())],
    }


def image_filter(
    *,
    uploaded_by: str | None = None,
    label: str | None = None,
    tags: Mapping[str, str | int | float | bool] | None = None,
    created_at: Range | None = None,
) -> Filter | None:
    """All that is given must hold; None when nothing is given."""
    must: list[Filter | Condition] = []
    if uploaded_by is not None:
        must.append(Condition("uploaded_by", value=uploaded_by))
    if label is not None:
        must.append(Condition("label", value=label.casefold()))
    for name, value in (tags or {}).items():
        must.append(Condition("tags", value=tag_term(name, value)))
    if created_at is not None and created_at != Range():
        must.append(Condition("created_at", range=created_at))
    return Filter(must=tuple(must)) if must else None


def tag_term(name: str, value: str | int | float | bool) -> str:
    """`name=<json value>`: one keyword for a tag, in which "3" differs from 3 and 1 from true.

    A whole number is the same value however it is written: 3.0 is 3.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{name}={msgspec.json.encode(value).decode()}"
