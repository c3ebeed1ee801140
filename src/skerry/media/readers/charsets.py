"""Turn the bytes of a text file into text, and say what was guessed."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from skerry.errors import DocumentUnreadable

# UTF-32's mark begins with UTF-16's, so it is looked for first.
MARKS = (
    (codecs.BOM_UTF8, "utf_8_sig"),
    (codecs.BOM_UTF32_LE, "utf_32"),
    (codecs.BOM_UTF32_BE, "utf_32"),
    (codecs.BOM_UTF16_LE, "utf_16"),
    (codecs.BOM_UTF16_BE, "utf_16"),
)
# What an HTML file may call its charset (https://encoding.spec.whatwg.org/#names-and-labels), in
# Python's names. Nothing else a file names is looked up: Python's codecs do more than charsets.
CODECS = {
    "utf-8": "utf_8", "utf8": "utf_8", "us-ascii": "cp1252", "ascii": "cp1252",
    "iso-8859-1": "cp1252", "latin1": "cp1252", "windows-1252": "cp1252", "cp1252": "cp1252",
    "iso-8859-2": "iso8859_2", "windows-1250": "cp1250",
    "iso-8859-5": "iso8859_5", "windows-1251": "cp1251", "koi8-r": "koi8_r", "koi8-u": "koi8_u",
    "iso-8859-7": "iso8859_7", "windows-1253": "cp1253",
    "iso-8859-8": "iso8859_8", "windows-1255": "cp1255", "windows-1256": "cp1256",
    "iso-8859-9": "cp1254", "windows-1254": "cp1254", "iso-8859-15": "iso8859_15",
    "windows-1257": "cp1257", "windows-1258": "cp1258", "macintosh": "mac_roman",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "windows-31j": "cp932",
    "euc-jp": "euc_jp", "iso-2022-jp": "iso2022_jp", "euc-kr": "cp949", "ks_c_5601-1987": "cp949",
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030",
    "big5": "big5hkscs", "big5-hkscs": "big5hkscs",
}  # fmt: skip
# What the libraries decode with: PDFium's text, the names in a zip archive, and plain ASCII.
INNER = ("utf_16_le", "cp437", "ascii", "latin_1")
DECLARED = re.compile(rb"""charset\s{0,9}=\s{0,9}["']?\s{0,9}([\w-]{2,20})""", re.IGNORECASE)
DECLARED_WITHIN_BYTES = 1024
# Western European text is mostly ASCII; Chinese or Russian in their old charsets is mostly not.
MAX_FOREIGN_SHARE = 0.3
IS_FOREIGN = bytes(byte > 127 for byte in range(256))
REMEDY = "Save it as UTF-8 text."


class Decoded(NamedTuple):
    """A text, and what had to be guessed to read it."""

    text: str
    notes: tuple[str, ...] = ()


def load_codecs() -> None:
    """Load all charsets now; later no file can be opened any more."""
    for name in (*CODECS.values(), *(name for _, name in MARKS), *INNER):
        codecs.lookup(name)


def decode(data: bytes) -> Decoded:
    """The text of `data`: by its byte order mark, as UTF-8, else as Windows-1252 with a note.

    Raises DocumentUnreadable for bytes that are no text.
    """
    codec = next((name for mark, name in MARKS if data.startswith(mark)), "utf_8")
    try:
        return _without_nul(Decoded(data.decode(codec)))
    except UnicodeDecodeError as error:
        if codec != "utf_8":
            raise DocumentUnreadable(
                f"The file is damaged: byte {error.start} is not {codec}.", remedy=REMEDY
            ) from error
    return _western(data)


def decode_html(data: bytes) -> Decoded:
    """As `decode`, but by the charset that an HTML file declares, when it has no mark."""
    declared = DECLARED.search(data[:DECLARED_WITHIN_BYTES])
    if declared is None or data.startswith(tuple(mark for mark, _ in MARKS)):
        return decode(data)
    label = declared.group(1).decode("ascii", "replace").lower()
    codec = CODECS.get(label)
    if codec is None:
        text, notes = decode(data)
        return Decoded(text, (*notes, f"The charset {label!r} that the file names is not known."))
    try:
        return Decoded(data.decode(codec))
    except UnicodeDecodeError:
        text = data.decode(codec, "replace")
        note = f"{text.count(chr(0xFFFD))} characters could not be read as {label}."
        return Decoded(text, (note,))


def _western(data: bytes) -> Decoded:
    foreign = sum(data.translate(IS_FOREIGN))
    if foreign > MAX_FOREIGN_SHARE * len(data):
        raise DocumentUnreadable("The file's charset cannot be told.", remedy=REMEDY)
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise DocumentUnreadable(
            "The file is neither UTF-8 nor Windows-1252 text.", remedy=REMEDY
        ) from error
    return _without_nul(Decoded(text, ("The file is not UTF-8; it was read as Windows-1252.",)))


def _without_nul(decoded: Decoded) -> Decoded:
    if "\0" in decoded.text:
        raise DocumentUnreadable("The file is not text: it holds zero bytes.", remedy=REMEDY)
    return decoded
