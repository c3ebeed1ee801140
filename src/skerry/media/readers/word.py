"""Read the text of a Word document (.docx)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from zipfile import BadZipFile, ZipFile

import docx
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml.ns import qn
from lxml import etree

from skerry.errors import DocumentUnreadable, PayloadTooLarge
from skerry.media.readers.base import ReadDocument, ReadLimits, cleaned
from skerry.media.readers.blocks import Blocks
from skerry.media.readers.kinds import MEDIA_TYPES
from skerry.media.readers.memory import raise_if_out_of_memory

PARAGRAPH, TABLE, ROW, CELL = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:tc")
SAID = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
TEXT = qn("w:t")
# What was deleted under tracked changes, and the second telling of a shape for old programs.
UNSAID = (
    qn("w:del"),
    qn("w:moveFrom"),
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
)
PROPERTIES = (qn("w:pPr"), qn("w:rPr"), qn("w:tblPr"), qn("w:sectPr"))
HEADING = re.compile(r"heading ([1-6])", re.IGNORECASE)
MAX_PARTS = 10_000


def read_word(data: bytes, limits: ReadLimits) -> ReadDocument:
    """Body text as markdown: headings by style, lists, tables; not headers, footers or notes.

    Raises DocumentUnreadable for damage, PayloadTooLarge for one that unpacks to too much.
    """
    _check_size(data, limits)
    try:
        document = docx.Document(BytesIO(data))
        styles = {style.style_id: style.name or "" for style in document.styles}
        reader = _Body(styles)
        reader.read(document.element.body)
        title = _stated_title(document)
    except (MemoryError, DocumentUnreadable):
        raise
    except Exception as error:  # a damaged package shows itself in nearly any type
        raise_if_out_of_memory(error)
        # What an XML parser says helps; of others it would be the inside of a library.
        reason = error if isinstance(error, etree.XMLSyntaxError) else type(error).__name__
        raise DocumentUnreadable(f"The .docx is damaged: {reason}") from error
    return ReadDocument(
        text=cleaned(reader.blocks.text()),
        title=title or reader.title or reader.blocks.first_heading,
        media_type=MEDIA_TYPES["word"],
    )


def _stated_title(document: Any) -> str:
    try:
        document.part.package.part_related_by(RELATIONSHIP_TYPE.CORE_PROPERTIES)
    except KeyError:
        return ""  # python-docx would make some up
    return " ".join(cleaned(document.core_properties.title).split())


def _check_size(data: bytes, limits: ReadLimits) -> None:
    """Refuse by what the parts say they unpack to: zipfile never unpacks more than that."""
    try:
        with ZipFile(BytesIO(data)) as archive:
            parts = archive.infolist()
    except (BadZipFile, ValueError, NotImplementedError) as error:
        raise DocumentUnreadable(f"The .docx is damaged: {error}") from error
    unpacked = sum(part.file_size for part in parts)
    if unpacked > limits.max_unpacked_bytes or len(parts) > MAX_PARTS:
        raise PayloadTooLarge(
            f"The .docx unpacks to {unpacked} bytes in {len(parts)} parts; "
            f"the limit is {limits.max_unpacked_bytes} bytes in {MAX_PARTS}.",
            remedy="Take the pictures out, or split it into several files.",
        )


class _Body:
    def __init__(self, styles: dict[str, str]) -> None:
        self.blocks = Blocks()
        self.title: str | None = None
        self._styles = styles

    def read(self, body: Any) -> None:
        """Write each paragraph and table row, also those inside content controls."""
        walker = etree.iterwalk(body, events=("start",))
        for _, element in walker:
            if element.tag == PARAGRAPH:
                self._paragraph(element)
                walker.skip_subtree()
            elif element.tag == ROW:
                self.blocks.row([_told(cell) for cell in _cells(element)])
                walker.skip_subtree()
            elif element.tag in UNSAID:
                walker.skip_subtree()

    def _paragraph(self, paragraph: Any) -> None:
        text = _told(paragraph).strip()
        style = self._styles.get(paragraph.style or "", "")
        heading = HEADING.match(style)
        if heading:
            self.blocks.heading(text, level=int(heading.group(1)))
        elif style == "Title" and text:
            self.title = self.title or " ".join(text.split())
            self.blocks.heading(text, level=1)
        elif style.startswith("List") or paragraph.xpath("boolean(w:pPr/w:numPr)"):
            self.blocks.item(text)
        else:
            self.blocks.add(text)


def _cells(row: Any) -> Iterator[Any]:
    """The cells of a row, not those of tables inside it."""
    walker = etree.iterwalk(row, events=("start",))
    for _, element in walker:
        if element.tag == CELL:
            yield element
            walker.skip_subtree()


def _told(element: Any) -> str:
    """What stands in a paragraph or cell, without what was deleted."""
    parts: list[str] = []
    walker = etree.iterwalk(element, events=("start", "end"))
    for event, part in walker:
        if event == "end":
            if part.tag == PARAGRAPH:
                parts.append("\n")
        elif part.tag in UNSAID or part.tag in PROPERTIES:
            walker.skip_subtree()
        elif part.tag == TEXT:
            parts.append(part.text or "")
        else:
            parts.append(SAID.get(part.tag, ""))
    return "".join(parts)
