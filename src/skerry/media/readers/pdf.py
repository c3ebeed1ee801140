"""Read the text of a PDF, page by page."""

from __future__ import annotations

import re
from contextlib import closing

import pypdfium2
import pypdfium2.raw as pdfium

from skerry.errors import DocumentUnreadable, PayloadTooLarge
from skerry.media.readers.base import ReadDocument, ReadLimits, cleaned
from skerry.media.readers.kinds import MEDIA_TYPES

# PDFium writes this for the hyphen of a word that goes on in the next line.
DIVIDED = re.compile("[\x02\ufffe](?:\r?\n)?")
PAGE_BREAK = "\n\n"
MAX_PAGES_NAMED = 10


def read_pdf(data: bytes, limits: ReadLimits) -> ReadDocument:
    """The text in reading order as PDFium sees it, and where each page begins.

    Raises DocumentUnreadable for damage and passwords, PayloadTooLarge for too many pages.
    """
    with _opened(data) as document:
        _check_pages(len(document), limits)
        texts = [_page_text(document, number) for number in range(len(document))]
        title = " ".join(cleaned(document.get_metadata_value("Title")).split())
    starts, length = [], 0
    for text in texts:
        starts.append(length)
        length += len(text or "") + len(PAGE_BREAK)
    return ReadDocument(
        text=PAGE_BREAK.join(text or "" for text in texts),
        title=title or None,
        media_type=MEDIA_TYPES["pdf"],
        pages=tuple(starts),
        notes=_notes(texts),
    )


def _opened(data: bytes) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
            raise DocumentUnreadable(
                "The PDF is encrypted and cannot be opened without its password.",
                remedy="Save a copy without the password and add that.",
            ) from error
        raise DocumentUnreadable(f"The PDF is damaged: {error}") from error


def _check_pages(pages: int, limits: ReadLimits) -> None:
    if pages > limits.max_pages:
        raise PayloadTooLarge(
            f"The PDF has {pages} pages; the limit is {limits.max_pages}.",
            remedy="Split it into several files.",
        )


def _page_text(document: pypdfium2.PdfDocument, number: int) -> str | None:
    """The text of a page; None when the page is damaged."""
    try:
        with closing(document[number]) as page, closing(page.get_textpage()) as content:
            text: str = content.get_text_bounded()
    except pypdfium2.PdfiumError:
        return None
    return cleaned(DIVIDED.sub("", text)).strip()


def _notes(texts: list[str | None]) -> tuple[str, ...]:
    damaged = [number for number, text in enumerate(texts, 1) if text is None]
    silent = [number for number, text in enumerate(texts, 1) if text == ""]
    notes = []
    if damaged:
        notes.append(f"Damaged pages that were not read: {_named(damaged)}.")
    if silent:
        notes.append(f"Pages without text, which may be scans: {_named(silent)}.")
    return tuple(notes)


def _named(numbers: list[int]) -> str:
    named = ", ".join(map(str, numbers[:MAX_PAGES_NAMED]))
    rest = len(numbers) - MAX_PAGES_NAMED
    return f"{named} and {rest} more" if rest > 0 else named
