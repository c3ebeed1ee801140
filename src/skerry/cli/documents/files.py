"""What the files of a folder hold: a document each, or many in the rows of .jsonl and .csv."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from skerry.cli.folders import Candidate
from skerry.cli.parameters import Scalar, spelled
from skerry.errors import BadRequest, DocumentUnreadable, SkerryError

Fields = dict[str, Any]
FILE_NAMES = {
    ".txt", ".text", ".md", ".markdown", ".rst", ".html", ".htm", ".xhtml", ".pdf", ".docx",
}  # fmt: skip
ROW_NAMES = {".jsonl", ".ndjson", ".csv"}
COLUMNS = ("id", "text", "title", "category", "timestamp")
"""Of a CSV; another one becomes metadata."""
BATCH = 50
BATCH_CHARACTERS = 250_000
"""Of one request, so that progress shows and several can be under way."""
MAX_CELL = 20_000_000
SHORTENED = 100


@dataclass(frozen=True, slots=True)
class Labels:
    """What is stored beside the text; `prefix` stands before each id."""

    category: str | None = None
    category_from_folder: bool = False
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    prefix: str = ""
    timestamp_from_file: bool = False

    def id_of(self, candidate: Candidate) -> str:
        """The document's id: its path below the folder that was named."""
        return self.prefix + candidate.relative

    def category_of(self, candidate: Candidate) -> str | None:
        """The document's category."""
        by_folder = candidate.folder if self.category_from_folder else ""
        return by_folder or self.category

    def timestamp_of(self, candidate: Candidate) -> int | None:
        """When the file was last changed, if that is wanted."""
        return int(candidate.path.stat().st_mtime) if self.timestamp_from_file else None


@dataclass(frozen=True, slots=True)
class Row:
    """A document of a file of many, or why this row is none; `place` names it for people."""

    place: str
    fields: Fields = field(default_factory=dict)
    error: SkerryError | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What one request carries: a whole file, or some of its rows; `ends` its file, or not."""

    candidate: Candidate
    rows: tuple[Row, ...] = ()
    ends: bool = True


def looks_like_document(path: Path) -> bool:
    """Whether the name says so; the node has the last word."""
    return path.suffix.lower() in FILE_NAMES | ROW_NAMES


def has_rows(path: Path) -> bool:
    """Whether the file holds many documents."""
    return path.suffix.lower() in ROW_NAMES


def loads(candidates: Iterable[Candidate], labels: Labels) -> Iterator[Load]:
    """The requests that store these files, read as they are asked for."""
    for candidate in candidates:
        if has_rows(candidate.path):
            yield from _loads_of_rows(candidate, labels)
        else:
            yield Load(candidate)


def check_ids(candidates: Iterable[Candidate], labels: Labels) -> None:
    """BadRequest when two files would be stored under one id, the second over the first."""
    seen: dict[str, Path] = {}
    for candidate in candidates:
        document_id = labels.id_of(candidate)
        first = seen.setdefault(document_id, candidate.path)
        # The same file, named twice, is no harm.
        if first is not candidate.path and not first.samefile(candidate.path):
            raise BadRequest(
                f"{first} and {candidate.path} would both be the document '{document_id}'.",
                remedy="Name the folder above them, or add them one by one with --prefix.",
            )


def read_rows(candidate: Candidate, labels: Labels) -> Iterator[Row]:
    """The documents of a .jsonl or .csv file; one that cannot be read says why."""
    path = candidate.path
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            is_csv = path.suffix.lower() == ".csv"
            found = _csv_rows(stream, path) if is_csv else _json_rows(stream, path)
            for number, row in enumerate(found, 1):
                yield _labelled(row, candidate, labels, number=number)
    except OSError as error:
        yield Row(str(path), error=unreadable(error))
    except UnicodeDecodeError as error:
        reason = DocumentUnreadable(f"The rest is not UTF-8: {error.reason}.", remedy="")
        yield Row(str(path), error=reason)


def unreadable(error: OSError) -> DocumentUnreadable:
    """The error for a file that the system does not give."""
    return DocumentUnreadable(f"{error.strerror or error}.", remedy="")


def _loads_of_rows(candidate: Candidate, labels: Labels) -> Iterator[Load]:
    rows: list[Row] = []
    characters = 0
    for row in read_rows(candidate, labels):
        size = len(str(row.fields.get("text", "")))
        if rows and (len(rows) == BATCH or characters + size > BATCH_CHARACTERS):
            yield Load(candidate, tuple(rows), ends=False)
            rows, characters = [], 0
        rows.append(row)
        characters += size
    empty = Row(str(candidate.path), error=DocumentUnreadable("It holds no rows.", remedy=""))
    yield Load(candidate, tuple(rows) or (empty,))


def _labelled(row: Row, candidate: Candidate, labels: Labels, *, number: int) -> Row:
    if row.error:
        return row
    fields = dict(row.fields)
    given = fields.get("id")
    # Without an id of its own, a document is known by where it stands.
    own = f"{candidate.relative}#{number}" if given is None or given == "" else given
    fields["id"] = f"{labels.prefix}{own}" if isinstance(own, str | int) else own
    category = labels.category_of(candidate)
    if category is not None:
        fields.setdefault("category", category)
    if labels.metadata and isinstance(fields.get("metadata", {}), dict):
        fields["metadata"] = {**labels.metadata, **fields.get("metadata", {})}
    return Row(row.place, fields)


def _json_rows(stream: IO[str], path: Path) -> Iterator[Row]:
    # Strict where the standard library is not: NaN is no JSON.
    import msgspec

    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            yield Row(place, msgspec.json.decode(line, type=dict[str, Any]))
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            reason = f"This is no JSON object: {str(error)[:SHORTENED]}."
            yield Row(place, error=DocumentUnreadable(reason, remedy=""))


def _csv_rows(stream: IO[str], path: Path) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL)
    reader = csv.DictReader(stream)
    try:
        names = list(reader.fieldnames or [])
        if "text" not in names:
            columns = ", ".join(name[:SHORTENED] for name in names) or "none"
            reason = f"It has no column 'text'; its columns: {columns}."
            yield Row(str(path), error=DocumentUnreadable(reason, remedy=""))
            return
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            yield _csv_row(cells, place)
    except csv.Error as error:
        reason = f"The rest is no CSV: {error}."
        yield Row(f"{path}, line {reader.line_num}", error=DocumentUnreadable(reason, remedy=""))


def _csv_row(cells: Mapping[Any, Any], place: str) -> Row:
    if None in cells:
        reason = "This row has more cells than the head has names."
        return Row(place, error=DocumentUnreadable(reason, remedy=""))
    given = {name: cell for name, cell in cells.items() if cell}
    fields: Fields = {name: cell for name, cell in given.items() if name in COLUMNS}
    stamp = fields.get("timestamp", "")
    # Anything else is for the node to read: it takes dates too.
    if stamp.lstrip("-").isdigit():
        fields["timestamp"] = int(stamp)
    metadata = {name: spelled(cell) for name, cell in given.items() if name not in COLUMNS}
    if metadata:
        fields["metadata"] = metadata
    return Row(place, fields)
