"""Read plain text and markdown, which stay as they are."""

from __future__ import annotations

from skerry.media.readers.base import ReadDocument, ReadLimits, cleaned
from skerry.media.readers.charsets import decode
from skerry.media.readers.kinds import MEDIA_TYPES
from skerry.media.sentences import first_heading


def read_plain(data: bytes, limits: ReadLimits) -> ReadDocument:
    """Text without a title; DocumentUnreadable for bytes that are no text."""
    text, notes = decode(data)
    return ReadDocument(
        text=cleaned(text), title=None, media_type=MEDIA_TYPES["plain"], notes=notes
    )


def read_markdown(data: bytes, limits: ReadLimits) -> ReadDocument:
    """Markdown with its first heading as title; DocumentUnreadable for bytes that are no text."""
    text, notes = decode(data)
    markdown = cleaned(text)
    return ReadDocument(
        text=markdown,
        title=first_heading(markdown),
        media_type=MEDIA_TYPES["markdown"],
        notes=notes,
    )
