"""Read the text of a PDF, page by page."""

from __future__ import annotations

from contextlib import closing

import pypdfium2
import pypdfium2.raw as pdfium

from skerry.errors import DocumentUnreadable, PayloadTooLarge
from skerry.media.readers.base import ReadDocument, ReadLimits, cleaned
from skerry.media.readers.kinds import MEDIA_TYPES
from skerry.media.readers.pdf_lines import Line, lines_of, page_text, style_of
from skerry.media.sentences import first_heading

PAGE_BREAK = "\n\n"
MAX_PAGES_NAMED = 10


def read_pdf(data: bytes, limits: ReadLimits) -> ReadDocument:
    """The text in reading order as PDFium sees it, and where each page begins.

    Larger letters make a heading, wider gaps a paragraph.

    Raises DocumentUnreadable for damage and passwords, PayloadTooLarge for too many pages.
    """
    with _opened(data) as document:
        _check_pages(len(document), limits)
        pages = [_page_lines(document, number) for number in range(len(document))]
        title = " ".join(cleaned(document.get_metadata_value("Title")).split())
    style = style_of([lines or [] for lines in pages])
    texts = [page_text(lines or [], style) for lines in pages]
    starts, length = [], 0
    for text in texts:
        starts.append(length)
        length += len(text) + len(PAGE_BREAK)
    text = PAGE_BREAK.join(texts)
    return ReadDocument(
        text=text,
        title=title or first_heading(text),
        media_type=MEDIA_TYPES["pdf"],
        pages=tuple(starts),
        notes=_notes(pages),
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


def _page_lines(document: pypdfium2.PdfDocument, number: int) -> list[Line] | None:
    """The lines of a page; None when the page is damaged."""
    try:
        with closing(document[number]) as page, closing(page.get_textpage()) as content:
            return lines_of(content)
    except pypdfium2.PdfiumError:
        return None


def _notes(pages: list[list[Line] | None]) -> tuple[str, ...]:
    damaged = [number for number, lines in enumerate(pages, 1) if lines is None]
    silent = [number for number, lines in enumerate(pages, 1) if lines == []]
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
