"""Tell headings and paragraphs of a PDF by the size of its letters and the gaps between lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import pypdfium2
import pypdfium2.raw as pdfium

from skerry.media.readers.base import cleaned, escaped

# PDFium writes these for the hyphen of a word that goes on in the next line.
DIVIDED = str.maketrans("", "", "\x02\ufffe")
LINE_END = "\r\n"
HEADING_FACTOR = 1.25
"""So many times larger than most of the text is a heading."""
GAP_FACTOR = 1.35
"""So many times farther apart than most lines are two paragraphs."""
MAX_HEADING_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page: `size` is the height of its letters and `bottom` its place, in points.

    Both are 0 where PDFium does not tell.
    """

    text: str
    size: float = 0.0
    bottom: float = 0.0


@dataclass(frozen=True, slots=True)
class Style:
    """What most of a document looks like, and its heading sizes, largest first."""

    size: float
    pitch: float
    headings: tuple[float, ...]

    def level(self, line: Line) -> int | None:
        """The level of the heading that the line is, None for other lines."""
        return self.headings.index(line.size) + 1 if line.size in self.headings else None


def lines_of(page: pypdfium2.PdfTextPage) -> list[Line]:
    """The lines of a page that are not blank, in PDFium's reading order."""
    lines: list[Line] = []
    at = 0  # in UTF-16 units, as PDFium counts
    for raw in page.get_text_range().split(LINE_END):
        text = cleaned(raw.translate(DIVIDED)).strip()
        if text:
            lines.append(_measured(page, text, at + len(raw) - len(raw.lstrip())))
        at += len(raw.encode("utf-16-le")) // 2 + len(LINE_END)
    return lines


def style_of(pages: Sequence[Sequence[Line]]) -> Style:
    """The style of a document, by all its lines."""
    weights: Counter[float] = Counter()
    for line in (line for lines in pages for line in lines):
        weights[line.size] += len(line.text)
    size = max(weights, key=lambda size: weights[size], default=0.0)
    steps = [
        one.bottom - other.bottom
        for lines in pages
        for one, other in pairwise(lines)
        if one.size == other.size == size and one.bottom > other.bottom
    ]
    return Style(size, median(steps) if steps else 0.0, tuple(_heading_sizes(pages, size)))


def page_text(lines: Sequence[Line], style: Style) -> str:
    """The page as markdown: headings marked, an empty line between paragraphs."""
    parts: list[str] = []
    before: Line | None = None
    for line in lines:
        level = style.level(line)
        if before is not None:
            parts.append(_between(before, line, style))
        if level is not None and (not parts or parts[-1] != " "):
            parts.append(f"{'#' * min(level, 6)} ")
        parts.append(line.text if level is not None else escaped(line.text))
        before = line
    return "".join(parts)


def _measured(page: pypdfium2.PdfTextPage, text: str, at: int) -> Line:
    index = pdfium.FPDFText_GetCharIndexFromTextIndex(page, at)
    if index < 0:
        return Line(text)
    try:
        _, bottom, _, top = page.get_charbox(index, loose=True)
    except pypdfium2.PdfiumError:
        return Line(text)
    return Line(text, round(top - bottom, 1), bottom)


def _heading_sizes(pages: Sequence[Sequence[Line]], size: float) -> Iterator[float]:
    sizes = {
        line.size
        for lines in pages
        for line in lines
        if line.size > HEADING_FACTOR * size > 0
        and len(line.text) <= MAX_HEADING_CHARACTERS
        and sum(map(str.isalpha, line.text)) > 1
    }
    yield from sorted(sizes, reverse=True)


def _between(before: Line, line: Line, style: Style) -> str:
    headings = style.level(before), style.level(line)
    if headings != (None, None):
        # A heading of two lines is one; one beside or below another size is not.
        return " " if headings[0] == headings[1] and before.bottom > line.bottom else "\n\n"
    far = before.bottom - line.bottom > GAP_FACTOR * style.pitch > 0
    return "\n\n" if far else "\n"
