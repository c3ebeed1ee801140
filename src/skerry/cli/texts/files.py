"""Texts from lines, CSV or JSON Lines; a record for each; on from where a run broke off."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import click

from skerry.errors import BadRequest, Conflict, SkerryError

Format = Literal["jsonl", "csv"]
Record = dict[str, Any]
BATCH = 32
STDIN = "-"


@dataclass(frozen=True)
class TextFile:
    """Where texts come from. A text is a line, a CSV row's column, or a JSON object's member."""

    path: Path
    column: str | None = None

    def texts(self) -> Iterator[str]:
        """Each text in order; BadRequest names the place that cannot be read."""
        with self._open() as stream:
            suffix = self.path.suffix.lower()
            if suffix == ".csv":
                yield from self._rows(stream)
            elif suffix in (".jsonl", ".ndjson"):
                yield from self._objects(stream)
            else:
                yield from (line.rstrip("\r\n") for line in stream)

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        try:
            if str(self.path) == STDIN:
                yield io.TextIOWrapper(sys.stdin.buffer, "utf-8", newline="")
                return
            with self.path.open(encoding="utf-8-sig", newline="") as stream:
                yield stream
        except OSError as error:
            raise BadRequest(f"Cannot read {self.path}: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise BadRequest(f"{self.path} is not UTF-8: {error}.") from error

    def _rows(self, stream: IO[str]) -> Iterator[str]:
        reader = csv.DictReader(stream)
        names = list(reader.fieldnames or [])
        column = self.column or ("text" if "text" in names else names[0] if names else "")
        if column not in names:
            raise BadRequest(
                f"{self.path} has no column '{column}'.",
                remedy=f"Its columns: {', '.join(names)}. Name one with --column.",
            )
        try:
            for row in reader:
                yield row[column] or ""
        except csv.Error as error:
            raise BadRequest(f"{self.path}, line {reader.line_num}: {error}.") from error

    def _objects(self, stream: IO[str]) -> Iterator[str]:
        member = self.column or "text"
        for number, line in enumerate(stream, 1):
            try:
                text = json.loads(line)[member]
            except (ValueError, KeyError, TypeError, RecursionError):
                text = None
            if not isinstance(text, str):
                raise BadRequest(
                    f"{self.path}, line {number}: no JSON object with a text '{member}'.",
                    remedy="Name the member with --column.",
                )
            yield text


class RecordFile:
    """Where records go: a file that a later run continues, or stdout."""

    def __init__(self, path: Path | None, form: Format | None) -> None:
        by_name: Format = "csv" if path is not None and path.suffix == ".csv" else "jsonl"
        self._path = path
        self._form: Format = form or by_name
        self.done = 0
        """Records that an earlier run wrote."""
        self._last: Record | None = None
        if path is not None and path.exists():
            self._take_up(path)

    def check_continues(self, texts: Iterable[str]) -> None:
        """Conflict when what the file holds was not made from these texts; reads them all."""
        held = deque(texts, maxlen=1)
        if self._last is None or [*held] != [self._last.get("text")]:
            raise Conflict(
                f"{self._path} holds {self.done} records of other texts.",
                remedy="Name another file with --output, or remove this one.",
            )

    @contextmanager
    def writer(self) -> Iterator[Callable[[Sequence[Record]], None]]:
        """A function that writes records, flushed when it returns."""
        stream: IO[str]
        if self._path is None:
            yield self._write_to(sys.stdout)
            return
        try:
            with self._path.open("a", encoding="utf-8", newline="") as stream:
                yield self._write_to(stream)
        except OSError as error:
            raise SkerryError(f"Cannot write {self._path}: {error.strerror}.") from error

    def _write_to(self, stream: IO[str]) -> Callable[[Sequence[Record]], None]:
        header = self.done == 0

        def write(records: Sequence[Record]) -> None:
            nonlocal header
            if self._form == "csv":
                _write_csv(stream, records, header=header)
            else:
                for record in records:
                    stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            header = False
            stream.flush()

        return write

    def _take_up(self, path: Path) -> None:
        """Count the whole records of an earlier run; what it left in part is cut off."""
        data = path.read_bytes()
        kept = _whole_csv(data) if self._form == "csv" else data.rfind(b"\n") + 1
        if kept < len(data):
            with path.open("r+b") as file:
                file.truncate(kept)
        try:
            text = data[:kept].decode()
            records = (
                list(csv.DictReader(io.StringIO(text, newline="")))
                if self._form == "csv"
                else [json.loads(line) for line in text.splitlines()]
            )
        except (ValueError, csv.Error) as error:
            raise Conflict(f"{path} is no file of records: {error}.") from error
        self.done = len(records)
        self._last = records[-1] if records else None


def _write_csv(stream: IO[str], records: Sequence[Record], *, header: bool) -> None:
    if not records:
        return
    writer = csv.DictWriter(stream, fieldnames=list(records[0]), lineterminator="\n")
    if header:
        writer.writeheader()
    for record in records:
        writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in record.items()})


def _whole_csv(data: bytes) -> int:
    """Length of the part that ends with a whole row: a line's end outside quotes."""
    kept, quotes = 0, 0
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        quotes += data.count(b'"', start, end)
        start = end + 1
        if quotes % 2 == 0:
            kept = start
    return kept


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """So many texts as one request carries."""
    remaining = iter(texts)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def text_options(function: Any) -> Any:
    """Give the command FILE, `--column`, `--output`, `--format`, `--long` and `--model`."""
    for decorate in (
        click.option("--model", metavar="NAME", help="Another model than the default."),
        click.option(
            "--long",
            type=click.Choice(["refuse", "split"]),
            default="refuse",
            show_default=True,
            help="What becomes of a text beyond the model's window.",
        ),
        click.option(
            "--format",
            "form",
            type=click.Choice(["jsonl", "csv"]),
            help="Of the records.  [default: by the output's name, else jsonl]",
        ),
        click.option(
            "--output",
            "-o",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write there; the same command goes on where one broke off.",
        ),
        click.option("--column", metavar="NAME", help="Of the CSV or JSON.  [default: text]"),
        click.argument("file", metavar="FILE", type=click.Path(path_type=Path)),
    ):
        function = decorate(function)
    return function
