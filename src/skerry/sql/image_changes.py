"""Images as the log tells of them, with their vectors: what their index follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from skerry.sql.feeds import SpaceFeed
from skerry.sql.images import QUALIFIED, ImageRow, image_row


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image's row and its vector, float32 (d,)."""

    row: ImageRow
    vector: NDArray[np.float32]

    @property
    def id(self) -> int:
        """The image's."""
        return self.row.id


class ImageFeed(SpaceFeed[EmbeddedImage]):
    """Images of one space as a stream of changes."""

    kind = "image"

    async def embedded(self, ids: Sequence[int]) -> list[EmbeddedImage]:
        """Rows and vectors of those `ids` that have both."""
        if not ids:
            return []
        # CROSS JOIN keeps this order: left to itself SQLite begins with every embedding there is.
        rows = await self._db.query(
            f"SELECT {QUALIFIED}, vector FROM json_each(?) wanted "
            "CROSS JOIN images ON images.id = wanted.value CROSS JOIN embeddings "
            "ON kind = 'image' AND item_id = images.id AND space = ?",
            (msgspec.json.encode(ids).decode(), self.space),
        )
        return [
            EmbeddedImage(image_row(row[:-1]), np.frombuffer(row[-1], dtype="<f4")) for row in rows
        ]

    async def missing(self, *, after_id: int = 0, limit: int = 1000) -> list[ImageRow]:
        """Images without a vector in this space, by id: what a new model has to embed."""
        rows = await self._db.query(
            f"SELECT {QUALIFIED} FROM images WHERE id > ? AND NOT EXISTS (SELECT 1 "
            "FROM embeddings WHERE kind = 'image' AND item_id = images.id AND space = ?) "
            "ORDER BY id LIMIT ?",
            (after_id, self.space, limit),
        )
        return [image_row(row) for row in rows]
