"""Make documents, good and hostile, for the tests of the readers."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import docx
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject, StreamObject


def pdf(pages: Sequence[Sequence[str]], *, title: str = "", password: str = "") -> bytes:
    """A PDF with one string a line; equal pages share their content.

    A line that begins with "# " is set larger, and one with "+ " farther below the last.
    """
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): font})
    streams = {}
    for lines in pages:
        shown = "".join(map(_set, lines))
        if shown not in streams:
            stream = DecodedStreamObject()
            stream.set_data(f"BT 72 740 Td {shown}ET".encode("latin-1"))
            streams[shown] = writer._add_object(stream)
        page = writer.add_blank_page(612, 792)
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = streams[shown]
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    return _written(writer)


def _set(line: str) -> str:
    size, gap = (24, 20) if line.startswith("# ") else (12, 40 if line.startswith("+ ") else 20)
    return f"/F1 {size} Tf 0 -{gap} Td ({line.removeprefix('# ').removeprefix('+ ')}) Tj "


def pdf_bomb(unpacked_bytes: int) -> bytes:
    """A small PDF with a page whose content unpacks to very much."""
    packer = zlib.compressobj(9)
    block = b"(a) Tj " * (1 << 17)
    packed = [packer.compress(block) for _ in range(unpacked_bytes // len(block))]
    writer = PdfWriter()
    page = writer.add_blank_page(612, 792)
    stream = StreamObject()
    stream._data = b"".join([*packed, packer.flush()])
    stream[NameObject("/Filter")] = NameObject("/FlateDecode")
    page[NameObject("/Contents")] = writer._add_object(stream)
    return _written(writer)


def blank_pdf(pages: int) -> bytes:
    """A PDF of empty pages."""
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(200, 200)
    return _written(writer)


def _written(writer: PdfWriter) -> bytes:
    buffer = BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def word() -> bytes:
    """A .docx with all that the reader tells apart."""
    document = docx.Document()
    document.core_properties.title = "Stated title"
    document.add_heading("Guide", level=1)
    document.add_paragraph("First paragraph.")
    document.add_paragraph("an item", style="List Bullet")
    document.add_paragraph("another", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"cell {number}"
    document.add_heading("Details", level=2)
    document.add_paragraph("Last\tparagraph.")
    return saved(document)


def saved(document: docx.document.Document) -> bytes:
    """The bytes of a document of python-docx."""
    buffer = BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def word_with_part(name: str, content: bytes) -> bytes:
    """A .docx in which one part is replaced, or added."""
    buffer = BytesIO()
    with ZipFile(BytesIO(word())) as old, ZipFile(buffer, "w", ZIP_DEFLATED) as new:
        for part in old.namelist():
            if part != name:
                new.writestr(part, old.read(part))
        new.writestr(name, content)
    return buffer.getvalue()


def word_body(xml: str) -> bytes:
    """A .docx whose body is `xml`."""
    namespace = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    compatibility = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    return word_with_part(
        "word/document.xml",
        f'<w:document xmlns:w="{namespace}" xmlns:mc="{compatibility}">'
        f"<w:body>{xml}</w:body></w:document>".encode(),
    )
