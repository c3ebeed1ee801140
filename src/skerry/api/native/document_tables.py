"""A table in a request's body: a document a row."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from skerry.api.faults import clean
from skerry.api.native.document_given import Given, Loaded, loaded, spelled_number
from skerry.api.native.document_wire import DocumentJson, Metadata
from skerry.errors import BadRequest
from skerry.sql.document_rows import Scalar

COLUMNS = ("id", "text", "title", "category", "timestamp")
TRUTHS = {"true": True, "false": False}


def table_rows(body: bytes) -> Iterator[Given]:
    """A document a row; columns that no document has by itself become its metadata.

    BadRequest for a table that is no CSV in UTF-8, or lacks a column for id or text.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"The table is not UTF-8: byte {error.start} does not fit."
        raise BadRequest(message, remedy="Save it as UTF-8.") from None
    # Python's own bound is 128 KB a cell; the body is bounded already.
    csv.field_size_limit(min(sys.maxsize, (1 << 31) - 1))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = next(reader, [])
        _check_columns(columns)
        for cells in reader:
            if cells:
                yield _Row(columns, cells, reader.line_num)
    except csv.Error as error:
        raise BadRequest(f"Line {reader.line_num} of the table is broken: {error}.") from None


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table; `columns` and `cells` are of one length, unless the row is broken."""

    columns: Sequence[str]
    cells: Sequence[str]
    line: int

    async def load(self) -> Loaded:
        fields = dict(zip(self.columns, self.cells, strict=False))
        told = fields.get("id", "")
        if len(self.cells) != len(self.columns):
            count = f"{len(self.cells)} values under {len(self.columns)} columns"
            return Loaded(told, BadRequest(f"Line {self.line}: {count}."))
        own = {name: _cell(fields[name]) for name in self.columns
               if name not in COLUMNS and fields[name]}  # fmt: skip
        given = DocumentJson(
            id=told,
            text=fields.get("text", ""),
            title=fields.get("title"),
            category=fields.get("category") or None,
            timestamp=fields.get("timestamp") or None,
            metadata=cast("Metadata", own),
        )
        return loaded(given)


def _check_columns(columns: Sequence[str]) -> None:
    for name in ("id", "text"):
        if name not in columns:
            told = ", ".join(columns)[:200] or "none"
            raise BadRequest(
                f"The table has no column '{name}'; its first line names {clean(told)}.",
                remedy="Name the columns in the first line: id,text,title,category,timestamp, "
                "and what else each document has.",
            )
    if len(set(columns)) < len(columns):
        raise BadRequest("The table names a column twice.")


def _cell(text: str) -> Scalar:
    """A cell that is written as a number or truth value in JSON is one: ranges find it."""
    number = spelled_number(text)
    return TRUTHS.get(text, text) if number is None else number
