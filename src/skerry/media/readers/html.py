"""Read what an HTML page says to its reader: no scripts, styles, forms or navigation."""

from __future__ import annotations

from typing import Any

from lxml import etree

from skerry.errors import DocumentUnreadable
from skerry.media.readers.base import ReadDocument, ReadLimits, cleaned
from skerry.media.readers.blocks import Blocks
from skerry.media.readers.charsets import decode_html
from skerry.media.readers.kinds import MEDIA_TYPES
from skerry.media.readers.memory import raise_if_out_of_memory

SILENT = frozenset((
    "audio", "base", "button", "canvas", "datalist", "dialog", "embed", "head", "iframe",
    "input", "link", "map", "meta", "nav", "noframes", "noscript", "object", "script", "select",
    "style", "svg", "template", "textarea", "video",
))  # fmt: skip
SILENT_ROLES = ("navigation", "search", "menu", "menubar", "toolbar")
BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr",
    "html", "legend", "main", "p", "section", "summary", "table", "tbody", "tfoot", "thead",
))  # fmt: skip
HEADINGS = {f"h{level}": level for level in range(1, 7)}
LISTS = ("ol", "ul", "menu")
CELLS = ("td", "th")
# A table whose cells hold these is there for the layout: each cell is read as blocks.
LAYOUT = etree.XPath("boolean(.//table|.//h1|.//h2|.//h3|.//h4|.//pre|.//ul|.//ol|.//div|.//p[2])")
LINE_BREAK = "\v"
"""Stands for <br> until white space is folded; text cannot hold it."""


def read_html(data: bytes, limits: ReadLimits) -> ReadDocument:
    """The page as markdown text, its <title> or first heading as title.

    Raises DocumentUnreadable when it is no HTML, or nested too deeply to be read whole.
    """
    source, notes = decode_html(data)
    root = _parsed(cleaned(source))
    page = _Page()
    page.read(root)
    titles = root.xpath("string((//head/title|/html/title)[1])").split()
    return ReadDocument(
        text=page.blocks.text(),
        title=" ".join(titles) or page.blocks.first_heading,
        media_type=MEDIA_TYPES["html"],
        notes=notes,
    )


def _parsed(source: str) -> Any:
    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=True, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(source.encode(), parser)
    except etree.LxmlError as error:
        raise_if_out_of_memory(error)
        raise DocumentUnreadable(f"The HTML is damaged: {error}") from error
    if root is None:
        raise DocumentUnreadable("The file holds no HTML.")
    if parser.error_log.filter_types(etree.ErrorTypes.ERR_RESOURCE_LIMIT):
        raise DocumentUnreadable("The HTML is nested too deeply to be read whole.")
    return root


class _Page:
    """Walks the tree once, without recursion, and writes a block whenever one ends."""

    def __init__(self) -> None:
        self.blocks = Blocks()
        self._inline: list[str] = []
        self._cells: list[str] | None = None
        self._counters: list[int | None] = []
        self._mark: str | None = None
        self._pre = 0

    def read(self, root: Any) -> None:
        """Write all blocks below `root`."""
        walker = etree.iterwalk(root, events=("start", "end"))
        for event, element in walker:
            if event == "start":
                if _is_silent(element):
                    walker.skip_subtree()
                    continue
                self._open(element, element.tag)
                self._say(element.text)
            else:
                if not _is_silent(element):
                    self._close(element.tag)
                self._say(element.tail)
        self._flush()

    def _say(self, text: str | None) -> None:
        if text:
            self._inline.append(text if self._pre else text.replace(LINE_BREAK, " "))

    def _open(self, element: Any, tag: str) -> None:
        if tag == "br":
            self._inline.append("\n" if self._pre else LINE_BREAK)
        elif self._cells is not None:
            self._inline.append(" ")
        elif tag in HEADINGS or tag in BLOCKS:
            self._flush()
        elif tag in LISTS:
            self._flush()
            self._counters.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._flush()
            self._mark = self._next_mark()
        elif tag == "pre":
            self._flush()
            self._pre += 1
        elif tag == "tr":
            self._flush()
            self._cells = None if LAYOUT(element) else []
        elif tag in CELLS:
            self._flush()

    def _close(self, tag: str) -> None:
        if self._cells is not None:
            self._close_in_row(tag)
        elif tag in HEADINGS:
            self.blocks.heading(self._taken(), level=HEADINGS[tag])
        elif tag == "pre":
            self.blocks.code("".join(self._inline))
            self._inline.clear()
            self._pre -= 1
        elif tag in BLOCKS or tag in CELLS or tag in ("li", "tr"):
            self._flush()
        elif tag in LISTS:
            self._flush()
            del self._counters[-1:]  # a broken table may have swallowed the list's beginning

    def _close_in_row(self, tag: str) -> None:
        assert self._cells is not None
        if tag in CELLS:
            self._cells.append(self._taken())
        elif tag == "tr":
            self.blocks.row([*self._cells, self._taken()] if self._inline else self._cells)
            self._inline.clear()
            self._cells = None
        else:
            self._inline.append(" " if tag in BLOCKS or tag == "li" else "")

    def _next_mark(self) -> str:
        if not self._counters or self._counters[-1] is None:
            return "-"
        self._counters[-1] += 1
        return f"{self._counters[-1]}."

    def _taken(self) -> str:
        """The inline text so far, its white space folded."""
        raw = "".join(self._inline)
        self._inline.clear()
        return "\n".join(" ".join(line.split()) for line in raw.split(LINE_BREAK)).strip()

    def _flush(self) -> None:
        if self._pre:
            return  # a block inside <pre> does not end it
        text = self._taken()
        if text and self._mark is not None:
            self.blocks.item(text, depth=max(0, len(self._counters) - 1), mark=self._mark)
            self._mark = None
        else:
            self.blocks.add(text)


def _is_silent(element: Any) -> bool:
    return (
        element.tag in SILENT
        or element.get("hidden") is not None
        or element.get("aria-hidden") == "true"
        or element.get("role") in SILENT_ROLES
    )
