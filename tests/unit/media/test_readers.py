"""Readers: each format gives its text, title and pages, and each kind of damage a clear error."""

from __future__ import annotations

import codecs
from io import BytesIO
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter

from skerry.errors import DocumentUnreadable, PayloadTooLarge, SkerryError, UnsupportedMediaType
from skerry.media.chunks import chunk
from skerry.media.readers.base import ReadCall, ReadDocument, ReadLimits
from skerry.media.readers.kinds import kind_of
from skerry.media.readers.parse import parse

from . import document_making as make

PAGE = b"""<!doctype html><html><head><title> My
 page</title><style>p { color: red }</style><script>stolen()</script></head><body>
<nav>Home <a href="/">About</a></nav><div role="navigation">Breadcrumbs</div>
<h1>Hello <em>world</em></h1><p>One <b>two</b>three.<br>Next<script>evil("</p>")</script> line
<!-- remark --><p hidden>unseen<p aria-hidden="true">unseen
<ol><li>first<ul><li>inner</ul><li><p>second</ol>
<table><tr><th>A<th>B</tr><tr><td><p>1</p><td>2<br>x</table>
<pre>fn main() {
    x();
}</pre><noscript>unseen</noscript><form>asked &amp; told<input value="unseen"></form></body>"""
PAGE_TEXT = """# Hello world

One twothree.
Next line

1. first
  - inner
2. second

| A | B |
| 1 | 2 x |

```
fn main() {
    x();
}
```

asked & told"""


def read(data: bytes, filename: str, **limits: int) -> ReadDocument:
    return parse(ReadCall(data, kind_of(filename, data), ReadLimits(**limits)))


def test_html_gives_what_a_reader_sees() -> None:
    document = read(PAGE, "page.HTML")
    assert document.text == PAGE_TEXT
    assert document.title == "My page"
    assert document.media_type == "text/html"
    assert document.pages == document.notes == ()


def test_html_tables_made_for_layout_are_read_as_blocks() -> None:
    page = b"<table><tr><td><h2>Left</h2><p>a</p><p>b</p></td><td><ul><li>c</ul></td></tr></table>"
    document = read(page, "a.htm")
    assert document.text == "## Left\n\na\n\nb\n\n- c"
    assert document.title == "Left"


def test_html_in_a_declared_charset_is_read_in_it() -> None:
    page = '<meta charset="shift_jis"><p>東京都</p>'.encode("cp932")
    assert read(page, "a.html").text == "東京都"


def test_html_with_a_charset_nobody_knows_says_so() -> None:
    document = read(b'<meta charset="rot13"><p>Hello</p>', "a.html")
    assert document.text == "Hello"
    assert "rot13" in document.notes[0]


def test_html_that_breaks_its_charset_says_how_often() -> None:
    document = read(b'<meta charset="utf-8"><p>caf\xe9</p>', "a.html")
    assert document.text == "caf\ufffd"
    assert document.notes == ("1 characters could not be read as utf-8.",)


def test_html_nested_too_deeply_is_refused_rather_than_cut() -> None:
    deep = b"<div>" * 100_000 + b"text"
    with pytest.raises(DocumentUnreadable, match="nested"):
        read(deep, "a.html")


def test_html_of_scripts_alone_holds_no_text() -> None:
    with pytest.raises(DocumentUnreadable, match="no text"):
        read(b"<html><script>alert(1)</script></html>", "a.html")


@pytest.mark.parametrize(
    ("mark", "codec"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_tells_the_charset_and_is_no_text(mark: bytes, codec: str) -> None:
    assert read(mark + "Grüße 東京".encode(codec), "a.txt").text == "Grüße 東京"


def test_latin_1_is_read_and_the_guess_is_told() -> None:
    document = read("Café crème – señor".encode("cp1252"), "a.txt")
    assert document.text == "Café crème – señor"
    assert "Windows-1252" in document.notes[0]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "README"])
def test_line_ends_become_one_kind_and_controls_go(name: str) -> None:
    assert read(b"a\r\nb\rc\fd\x07e\x7f\tf", name).text == "a\nb\nc\nde\tf"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff", id="a picture"),
        pytest.param("text".encode("utf-16-le"), id="UTF-16 without mark"),
        pytest.param("東京都".encode("cp932"), id="Shift-JIS"),
        pytest.param("中国人".encode("gbk"), id="GBK"),
        pytest.param("Москва и область".encode("koi8-r"), id="KOI8-R"),
        pytest.param(codecs.BOM_UTF16_LE + b"a\0b", id="half a character"),
        pytest.param(b"\0" * 100, id="zero bytes"),
    ],
)
def test_bytes_that_are_no_known_text_are_refused_with_the_remedy(data: bytes) -> None:
    with pytest.raises(DocumentUnreadable) as caught:
        read(data, "a.txt")
    assert caught.value.remedy == "Save it as UTF-8 text."


def test_markdown_stays_as_it_is_and_names_itself() -> None:
    text = "```\n# code\n```\n\nIntro\n\n## The *guide* ##\n\n- a\n"
    document = read(text.encode(), "a.md")
    assert (document.text, document.title) == (text, "The *guide*")
    assert read(b"No heading", "a.md").title is None


def test_pdf_gives_its_pages_title_and_their_places() -> None:
    data = make.pdf([["First page.", "More of it."], ["Second page."]], title="A  manual")
    document = read(data, "a.pdf")
    assert document.text == "First page.\nMore of it.\n\nSecond page."
    assert [document.text[start:][:6] for start in document.pages] == ["First ", "Second"]
    assert document.title == "A manual"
    parts = chunk(document.text, token_starts=[], pages=document.pages)
    assert parts[0].page == 1


def test_pdf_words_divided_at_a_line_end_are_whole_again() -> None:
    document = read(make.pdf([["The elec-", "tricity is on."]]), "a.pdf")
    assert document.text == "The electricity is on."


def test_pdf_headings_are_known_by_their_size_and_paragraphs_by_their_gaps() -> None:
    pages = [
        ["# A heading that", "# goes on", "First line", "of a paragraph.", "+ Another", "one."],
        ["It goes on.", "# Second", "And ends."],
    ]
    document = read(make.pdf(pages), "a.pdf")
    assert document.text == (
        "# A heading that goes on\n\nFirst line\nof a paragraph.\n\nAnother\none.\n\n"
        "It goes on.\n\n# Second\n\nAnd ends."
    )


def test_a_line_that_only_looks_like_a_heading_is_none() -> None:
    listing = make.pdf([["+ # comment", "of a listing in smaller letters", "than a heading"]])
    assert read(listing, "a.pdf").text.startswith("\\# comment\n")
    page = read(b"<p># 1 in the charts</p><h2>Real</h2>", "a.html")
    assert page.text == "\\# 1 in the charts\n\n## Real"
    assert [c.heading for c in chunk(page.text, token_starts=[])] == [""]
    assert page.title == "Real"


def test_pdf_without_a_stated_title_is_named_by_its_first_heading() -> None:
    assert read(make.pdf([["# The manual", "Text that is longer."]]), "a.pdf").title == "The manual"


def test_pdf_pages_without_text_are_told() -> None:
    document = read(make.pdf([["Text."], [], [], ["Text."]]), "a.pdf")
    assert document.notes == ("Pages without text, which may be scans: 2, 3.",)
    assert len(document.pages) == 4


def test_pdf_of_scans_is_refused_with_the_remedy() -> None:
    with pytest.raises(DocumentUnreadable) as caught:
        read(make.blank_pdf(3), "a.pdf")
    assert "OCR" in caught.value.remedy


def test_encrypted_pdf_is_refused_with_the_remedy() -> None:
    with pytest.raises(DocumentUnreadable, match="encrypted") as caught:
        read(make.pdf([["Secret."]], password="secret"), "a.pdf")
    assert "password" in caught.value.remedy


def test_pdf_that_only_forbids_changes_is_read() -> None:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(make.pdf([["Open to read."]]))))
    writer.encrypt("", owner_password="owner", algorithm="RC4-128")
    buffer = BytesIO()
    writer.write(buffer)
    assert read(buffer.getvalue(), "a.pdf").text == "Open to read."


def test_pdf_with_too_many_pages_is_refused_at_once() -> None:
    with pytest.raises(PayloadTooLarge, match="10000 pages") as caught:
        read(make.blank_pdf(10_000), "a.pdf")
    assert "Split" in caught.value.remedy


def test_word_gives_headings_lists_and_tables() -> None:
    document = read(make.word(), "a.docx")
    assert document.text == (
        "# Guide\n\nFirst paragraph.\n\n- an item\n- another\n\n"
        "| cell 0 | cell 1 |\n| cell 2 | cell 3 |\n\n## Details\n\nLast\tparagraph."
    )
    assert document.title == "Stated title"


def test_word_without_a_stated_title_is_named_by_its_first_heading() -> None:
    with ZipFile(BytesIO(make.word())) as archive:
        relations = archive.read("_rels/.rels").replace(b"core-properties", b"other-properties")
    document = read(make.word_with_part("_rels/.rels", relations), "a.docx")
    assert document.title == "Guide"


def test_word_tells_insertions_and_controls_but_not_what_was_deleted() -> None:
    run = "<w:r><w:t>{}</w:t></w:r>".format
    body = (
        f"<w:sdt><w:sdtContent><w:p>{run('in a control')}</w:p></w:sdtContent></w:sdt>"
        f"<w:p><w:ins>{run('put in')}</w:ins><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        f"<w:moveFrom>{run('moved')}</w:moveFrom></w:p>"
        f"<w:p><w:r><mc:AlternateContent><mc:Choice>{run('once')}</mc:Choice>"
        f"<mc:Fallback>{run('twice')}</mc:Fallback></mc:AlternateContent></w:r></w:p>"
        "<w:p><w:r><w:t>a</w:t><w:br/><w:t>b</w:t></w:r></w:p>"
    )
    assert read(make.word_body(body), "a.docx").text == "in a control\n\nput in\n\nonce\n\na\nb"


def test_word_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = make.word_with_part("word/media/image1.png", bytes(300 << 20))
    assert len(bomb) < 1 << 20
    with pytest.raises(PayloadTooLarge, match="unpacks to"):
        read(bomb, "a.docx")


def test_word_of_very_many_parts_is_refused() -> None:
    buffer = BytesIO(make.word())
    with ZipFile(buffer, "a") as archive:
        for number in range(10_001):
            archive.writestr(f"x/{number}", b"")
    with pytest.raises(PayloadTooLarge, match="parts"):
        read(buffer.getvalue(), "a.docx")


def test_word_with_entities_does_not_resolve_them() -> None:
    xml = (
        b'<!DOCTYPE d [<!ENTITY a "boom"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
        b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        b"<w:body><w:p><w:r><w:t>text &a; &f;</w:t></w:r></w:p></w:body></w:document>"
    )
    try:
        text = read(make.word_with_part("word/document.xml", xml), "a.docx").text
    except DocumentUnreadable:
        return
    assert "boom" not in text and "root" not in text


@pytest.mark.parametrize("kept", [10, 500, 5_000, 20_000])
def test_a_word_document_cut_off_is_damaged(kept: int) -> None:
    with pytest.raises(DocumentUnreadable):
        read(make.word()[:kept], "a.docx")


def test_an_old_or_encrypted_word_document_is_refused_with_the_remedy() -> None:
    with pytest.raises(DocumentUnreadable, match="password") as caught:
        read(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "a.docx")
    assert ".docx" in caught.value.remedy


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.pdf", "a.docx", "a"])
def test_an_empty_file_is_refused(name: str) -> None:
    with pytest.raises(DocumentUnreadable, match="empty"):
        read(b"", name)


@pytest.mark.parametrize("name", ["a.pdf", "a.docx"])
def test_a_file_that_is_not_what_its_name_says_is_refused(name: str) -> None:
    with pytest.raises(DocumentUnreadable, match="is not a"):
        read(b"plain text", name)


def test_an_unknown_suffix_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(UnsupportedMediaType, match="xyz") as caught:
        read(b"text", "a.xyz")
    assert ".pdf" in caught.value.remedy and ".docx" in caught.value.remedy


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7 ...", "pdf"),
        (b"  <!DOCTYPE html><p>", "html"),
        (b"PK\x03\x04....", "word"),
        (b"Dear reader", "plain"),
    ],
)
def test_a_file_without_a_suffix_is_known_by_its_beginning(data: bytes, kind: str) -> None:
    assert kind_of("file", data) == kind


def test_a_text_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(PayloadTooLarge, match="101 characters"):
        read(b"a" * 101, "a.txt", max_characters=100)
    assert read(b"a" * 100, "a.txt", max_characters=100).text == "a" * 100


def test_a_huge_single_line_is_read() -> None:
    assert len(read(b"word " * 2_000_000, "a.txt").text) == 10_000_000


TAGS = [
    "table",
    "tr",
    "td",
    "ul",
    "ol",
    "menu",
    "li",
    "pre",
    "p",
    "h2",
    "br",
    "div",
    "nav",
    "script",
]
MARKUP = [f"<{slash}{tag}>" for tag in TAGS for slash in ("", "/")]


@given(st.lists(st.sampled_from([*MARKUP, "word", " ", "&nbsp;", "<!--", "-->"]), max_size=40))
def test_any_order_of_tags_gives_text_or_says_that_there_is_none(parts: list[str]) -> None:
    try:
        text = read("".join(parts).encode() or b" ", "a.html").text
    except DocumentUnreadable:
        return
    assert text.strip() and "<" not in text


@given(st.sampled_from(["a.txt", "a.html", "a.pdf", "a.docx"]), st.binary(max_size=400))
def test_any_bytes_give_text_or_a_domain_error(name: str, tail: bytes) -> None:
    head = {"a.pdf": b"%PDF-1.7\n", "a.docx": b"PK\x03\x04"}.get(name, b"")
    try:
        document = read(head + tail, name)
    except SkerryError:
        return
    assert document.text.strip() and "\0" not in document.text and "\r" not in document.text
