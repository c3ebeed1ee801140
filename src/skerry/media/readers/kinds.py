"""Tell which reader a file needs, by its name and its first bytes."""

from __future__ import annotations

from pathlib import PurePosixPath

from skerry.errors import DocumentUnreadable, UnsupportedMediaType

MEDIA_TYPES = {
    "plain": "text/plain",
    "markdown": "text/markdown",
    "html": "text/html",
    "pdf": "application/pdf",
    "word": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
KIND_OF_SUFFIX = {
    ".txt": "plain",
    ".text": "plain",
    ".log": "plain",
    ".rst": "plain",
    ".md": "markdown",
    ".markdown": "markdown",
    ".htm": "html",
    ".html": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "word",
}
ZIP = b"PK\x03\x04"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PDF = b"%PDF-"
PDF_HEAD_BYTES = 1024
"""A PDF may have something before its header; readers look this far for it."""


def kind_of(filename: str, data: bytes) -> str:
    """The name of the reader, a key of MEDIA_TYPES.

    Raises UnsupportedMediaType for a suffix without a reader, DocumentUnreadable for an empty
    file or one that is evidently not what its name says.
    """
    if not data:
        raise DocumentUnreadable("The file is empty.", remedy="Add a file that holds text.")
    suffix = PurePosixPath(filename).suffix.lower()
    kind = KIND_OF_SUFFIX.get(suffix) if suffix else _guessed(data)
    if kind is None:
        known = " ".join(KIND_OF_SUFFIX)
        raise UnsupportedMediaType(
            f"No reader knows files that end in {suffix[:20]!r}.",
            remedy=f"Files that end in {known} are read; convert it to one of these.",
        )
    _check_signature(kind, data)
    return kind


def _guessed(data: bytes) -> str:
    head = data[:PDF_HEAD_BYTES].lstrip().lower()
    if head.startswith(PDF.lower()):
        return "pdf"
    if head.startswith(ZIP.lower()):
        return "word"
    return "html" if head.startswith((b"<!doctype html", b"<html")) else "plain"


def _check_signature(kind: str, data: bytes) -> None:
    if kind == "pdf" and PDF not in data[:PDF_HEAD_BYTES]:
        raise DocumentUnreadable("The file is not a PDF: it does not begin as one.")
    if kind != "word" or data.startswith(ZIP):
        return
    if data.startswith(OLE):
        raise DocumentUnreadable(
            "The file is protected by a password, or an old .doc under a new name.",
            remedy="Open it in a word processor and save it as .docx without a password.",
        )
    raise DocumentUnreadable("The file is not a .docx: it does not begin as one.")
