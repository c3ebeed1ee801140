"""Choose the reader of a file and hold what it read to the limits."""

from __future__ import annotations

from skerry.media.readers.base import ReadCall, ReadDocument, checked
from skerry.media.readers.html import read_html
from skerry.media.readers.pdf import read_pdf
from skerry.media.readers.plain import read_markdown, read_plain
from skerry.media.readers.word import read_word

READERS = {
    "plain": read_plain,
    "markdown": read_markdown,
    "html": read_html,
    "pdf": read_pdf,
    "word": read_word,
}


def parse(call: ReadCall) -> ReadDocument:
    """Read the file here and now; raises DocumentUnreadable or PayloadTooLarge."""
    return checked(READERS[call.kind](call.data, call.limits), call.limits)
