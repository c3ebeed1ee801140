"""The table of images: rows in, rows out, pages of rows by filter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from skerry.errors import BadRequest, Conflict
from skerry.sql.base import Database, Row, Transaction, Value
from skerry.sql.filters import Conditions, Cursor, TagValue

COLUMNS = (
    "id, sha256, filename, media_type, width, height, bytes, uploaded_by, created_at, tags, labels"
)
QUALIFIED = ", ".join(f"images.{name}" for name in COLUMNS.split(", "))


class Label(msgspec.Struct, frozen=True):
    """A class the model gave an image, its index among the model's labels, its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image about to be stored; `created_at` in Unix seconds, labels most probable first."""

    sha256: str
    filename: str
    media_type: str
    width: int
    height: int
    bytes: int
    uploaded_by: str
    created_at: int
    tags: dict[str, TagValue] = field(default_factory=dict)
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageRow:
    """A stored image."""

    id: int
    sha256: str
    filename: str
    media_type: str
    width: int
    height: int
    bytes: int
    uploaded_by: str
    created_at: int
    tags: dict[str, TagValue]
    labels: tuple[Label, ...]


class ImageSummary(msgspec.Struct, frozen=True):
    """What a search answers of an image, cheaper to read than its row."""

    id: int
    filename: str
    uploaded_by: str
    created_at: int
    tags: dict[str, TagValue]


@dataclass(frozen=True, slots=True)
class ImageFilters:
    """Which images to list; None and an empty mapping do not filter.

    `label` is the most probable label or one of its synonyms, ASCII case ignored. A text in `tags`
    also finds the number or truth value it spells, as query strings know only text. Times are Unix
    seconds: created at or after `created_after`, and before `created_before`.
    """

    uploaded_by: str | None = None
    label: str | None = None
    tags: Mapping[str, TagValue] = field(default_factory=dict)
    created_after: int | None = None
    created_before: int | None = None


@dataclass(frozen=True, slots=True)
class ImagePage:
    """Rows of one page, the cursor of the next (None at the end), and how many match in all."""

    rows: list[ImageRow]
    next: str | None
    total: int


class ImageTable:
    """Reads go to the database; writes take the transaction they belong to."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, reference: int | str) -> ImageRow | None:
        """The image by id, or by sha256 when `reference` is a str."""
        column = "id" if isinstance(reference, int) else "sha256"
        rows = self._db.read(f"SELECT {COLUMNS} FROM images WHERE {column} = ?", (reference,))
        return image_row(rows[0]) if rows else None

    def by_ids(self, ids: Sequence[int]) -> list[ImageRow]:
        """The rows in the order of `ids`, without those that do not exist; one query."""
        return [image_row(row) for row in self._select_by_ids(QUALIFIED, ids)]

    def summaries(self, ids: Sequence[int]) -> list[ImageSummary]:
        """As `by_ids`, with the columns that a search answers."""
        columns = "images.id, filename, uploaded_by, created_at, tags"
        return [
            ImageSummary(row[0], row[1], row[2], row[3], decode_tags(row[4]))
            for row in self._select_by_ids(columns, ids)
        ]

    def embedding(self, id: int, *, space: str) -> NDArray[np.float32] | None:
        """The image's vector in `space`, float32 (d,); None when it has none there."""
        rows = self._db.read(
            "SELECT vector FROM embeddings WHERE kind = 'image' AND item_id = ? AND space = ?",
            (id, space),
        )
        return np.frombuffer(rows[0][0], dtype="<f4") if rows else None

    async def page(
        self, filters: ImageFilters, *, cursor: str | None = None, limit: int = 50
    ) -> ImagePage:
        """Newest first; images stored while one pages do not shift what follows.

        Raises BadRequest when the cursor is not one of ours.
        """
        conditions = _conditions(filters)
        total = await self._db.query(
            f"SELECT count(*) FROM images {conditions.where}",
            conditions.arguments,
        )
        if cursor is not None:
            last = Cursor.parse(cursor)
            conditions.add("(created_at, id) < (?, ?)", last.created_at, last.id)
        found = await self._db.query(
            f"SELECT {COLUMNS} FROM images {conditions.where} "
            "ORDER BY created_at DESC, id DESC LIMIT ?",
            (*conditions.arguments, limit + 1),
        )
        rows = [image_row(row) for row in found[:limit]]
        more = len(found) > limit and rows
        following = Cursor(rows[-1].created_at, rows[-1].id).text if more else None
        return ImagePage(rows, following, total[0][0])

    async def count(self) -> int:
        """Images stored; milliseconds when there are many."""
        rows = await self._db.query("SELECT count(*) FROM images")
        return int(rows[0][0])

    def insert(
        self, tx: Transaction, new: NewImage, *, embedding: NDArray[np.float32], space: str
    ) -> ImageRow:
        """Add an image with its embedding, float32 (d,); Conflict when the bytes are stored."""
        arguments = (
            new.sha256, new.filename, new.media_type, new.width, new.height, new.bytes,
            new.uploaded_by, new.created_at, encode_tags(new.tags), _encode_labels(new.labels),
        )  # fmt: skip
        inserted = list(
            tx.execute(
                "INSERT INTO images (sha256, filename, media_type, width, height, bytes, "
                "uploaded_by, created_at, tags, labels) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                f"ON CONFLICT (sha256) DO NOTHING RETURNING {COLUMNS}",
                arguments,
            )
        )
        if not inserted:
            raise Conflict(f"The image {new.sha256} is already stored.")
        row = image_row(inserted[0])
        self.put_embedding(tx, row.id, embedding=embedding, space=space)
        return row

    def put_embedding(
        self, tx: Transaction, id: int, *, embedding: NDArray[np.float32], space: str
    ) -> bool:
        """Set the image's vector in `space`; False when the image is gone."""
        vector = np.ascontiguousarray(embedding, dtype="<f4").tobytes()
        stored = tx.execute(
            "INSERT INTO embeddings (kind, item_id, space, vector) "
            "SELECT 'image', id, ?, ? FROM images WHERE id = ? "
            "ON CONFLICT DO UPDATE SET vector = excluded.vector RETURNING item_id",
            (space, vector, id),
        )
        return bool(list(stored))

    def update(
        self,
        tx: Transaction,
        id: int,
        *,
        filename: str | None = None,
        uploaded_by: str | None = None,
        tags: Mapping[str, TagValue] | None = None,
        labels: tuple[Label, ...] | None = None,
    ) -> ImageRow | None:
        """Change what is given, tags as a whole; the row as it is then, None when it is gone."""
        rows = tx.execute(
            "UPDATE images SET filename = coalesce(?, filename), "
            "uploaded_by = coalesce(?, uploaded_by), tags = coalesce(?, tags), "
            f"labels = coalesce(?, labels) WHERE id = ? RETURNING {COLUMNS}",
            (
                filename,
                uploaded_by,
                None if tags is None else encode_tags(tags),
                None if labels is None else _encode_labels(labels),
                id,
            ),
        )
        return next((image_row(row) for row in list(rows)), None)

    def delete(self, tx: Transaction, id: int) -> bool:
        """Remove the row, and with it its embeddings; True when it was there."""
        return bool(list(tx.execute("DELETE FROM images WHERE id = ? RETURNING id", (id,))))

    def _select_by_ids(self, columns: str, ids: Sequence[int]) -> list[Row]:
        # The statement's text is the same for any number of ids, so it stays prepared.
        return self._db.read(
            f"SELECT {columns} FROM json_each(?) wanted "
            "CROSS JOIN images ON images.id = wanted.value ORDER BY wanted.key",
            (msgspec.json.encode(ids).decode(),),
        )


def image_row(row: Row) -> ImageRow:
    """From the columns of `COLUMNS`."""
    values: list[Any] = [*row[:-2], decode_tags(row[-2]), _LABELS.decode(row[-1])]
    return ImageRow(*values)


def encode_tags(tags: Mapping[str, TagValue]) -> str:
    """Tags as JSON; BadRequest for a value that is no finite scalar or passes 64 bits."""
    for name, value in tags.items():
        if not isinstance(value, str | int | float | bool):
            raise BadRequest(f"Tag '{name}' must be a text, a number, true or false.")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadRequest(f"Tag '{name}' is not a finite number.")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise BadRequest(f"Tag '{name}' is an integer of more than 64 bits.")
    try:
        return msgspec.json.encode(tags).decode()
    except UnicodeEncodeError as error:
        raise BadRequest("A tag contains half of a surrogate pair.") from error


def decode_tags(text: str) -> dict[str, TagValue]:
    """The inverse of `encode_tags`."""
    return _TAGS.decode(text) if text != "{}" else {}


_TAGS = msgspec.json.Decoder(dict[str, str | int | float | bool])
_LABELS = msgspec.json.Decoder(tuple[Label, ...])


def _encode_labels(labels: tuple[Label, ...]) -> str:
    return msgspec.json.encode(labels).decode()


def _conditions(filters: ImageFilters) -> Conditions:
    conditions = Conditions()
    exact: list[tuple[str, Value]] = [
        ("uploaded_by = ?", filters.uploaded_by),
        ("created_at >= ?", filters.created_after),
        ("created_at < ?", filters.created_before),
        ("id IN (SELECT image_id FROM image_labels WHERE label = ?)", filters.label),
    ]
    for condition, value in exact:
        if value is not None:
            conditions.add(condition, value)
    for name, value in filters.tags.items():
        conditions.add_tag(name, value)
    return conditions
