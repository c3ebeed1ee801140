"""What a read file gives, and what reading it may cost."""

from __future__ import annotations

import re

import msgspec

from skerry.errors import DocumentUnreadable, PayloadTooLarge

LINE_ENDS = re.compile(r"\r\n?|\f")
CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]")

SEEMING_HEADING = re.compile(r"^#{1,6}(?=[ \t])", re.MULTILINE)
READY = b""
"""The body of a call that only asks whether the process works."""


class ReadDocument(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The text of a file.

    Headings are written as markdown, whatever the format. `title` is the one the file states or
    its first heading. `pages` are the character offsets at which pages begin, empty for formats
    without pages. `notes` say what was guessed or could not be read.
    """

    text: str
    title: str | None
    media_type: str
    pages: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


class ReadLimits(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one file may cost; one that costs more is refused, whatever it is."""

    time_s: float = 60.0
    memory_bytes: int = 1 << 30
    """Address space of the process that reads."""
    max_pages: int = 5_000
    max_characters: int = 20_000_000
    max_unpacked_bytes: int = 256 << 20
    """What the parts of a compressed file may add up to."""


class ReadCall(msgspec.Struct, frozen=True, array_like=True):
    """A file on its way to the process that reads it; answered by ReadDocument."""

    data: bytes
    kind: str
    limits: ReadLimits


def cleaned(text: str) -> str:
    """`text` with lines that end in `\\n`, without control characters and halves of pairs."""
    return CONTROLS.sub("", LINE_ENDS.sub("\n", text.encode("utf-8", "ignore").decode()))


def escaped(text: str) -> str:
    """`text` in which no line reads as a markdown heading, for text that is no heading."""
    return SEEMING_HEADING.sub(r"\\\g<0>", text)


def checked(document: ReadDocument, limits: ReadLimits) -> ReadDocument:
    """The document; DocumentUnreadable without any text, PayloadTooLarge with too much."""
    if len(document.text) > limits.max_characters:
        raise PayloadTooLarge(
            f"The file holds {len(document.text)} characters of text; "
            f"the limit is {limits.max_characters}.",
            remedy="Split it into several files.",
        )
    if not document.text or document.text.isspace():
        raise DocumentUnreadable(
            "The file holds no text.",
            remedy="If it holds pictures of text, recognise that first (OCR), then add it.",
        )
    return document
