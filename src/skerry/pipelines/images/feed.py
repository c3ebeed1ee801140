"""The images of one space as the log the index follows."""

from __future__ import annotations

from skerry.index.base import Entry, Page
from skerry.index.images import image_payload
from skerry.sql.base import Database
from skerry.sql.changes import ChangeLog
from skerry.sql.image_changes import EmbeddedImage, ImageFeed


class ImageIndexFeed:
    """Fills the index's Feed from the database."""

    def __init__(self, db: Database, *, space: str) -> None:
        self.epoch = ChangeLog(db).epoch
        self._feed = ImageFeed(db, space=space)

    def head(self) -> int:
        """Seq of the latest committed change."""
        return self._feed.head()

    async def after(self, seq: int, *, limit: int) -> Page:
        """The next changes after `seq`; images without a vector here count as deleted."""
        changes = await self._feed.after(seq, limit=limit)
        entries = [_put(image) for image in changes.upserts]
        entries += [Entry(gone, "del") for gone in changes.deletes]
        return Page(changes.seq, entries)


def _put(image: EmbeddedImage) -> Entry:
    row = image.row
    names = {name for label in row.labels[:1] for name in (label.label, *label.label.split(", "))}
    payload = image_payload(
        uploaded_by=row.uploaded_by, created_at=row.created_at, labels=names, tags=row.tags
    )
    return Entry(row.id, "put", image.vector, payload)
