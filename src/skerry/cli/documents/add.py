"""`skerry docs add`: store files, folders and rows as documents, and say what could not be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import click

from skerry.cli.documents.files import Labels, check_ids, has_rows, loads, looks_like_document
from skerry.cli.documents.options import label_options, labels_of
from skerry.cli.documents.store import DocumentStore, Done, Outcome, outcome_json
from skerry.cli.folders import Gathered, gather
from skerry.cli.http import open_client
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import one_line
from skerry.cli.progress import Progress
from skerry.cli.reports import Report
from skerry.cli.sending import jobs_option

PATIENCE_S = 120.0
REMARKS_SHOWN = 20


@click.command(
    epilog=examples(
        "skerry docs add manuals/",
        "skerry docs add manuals/ --category-from-folder --metadata edition=3",
        "skerry docs add faq.csv report.pdf --category support",
    )
)
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path)
)
@label_options
@click.option("--recursive/--no-recursive", default=True, help="Sub-folders too.  [default: yes]")
@jobs_option
@node_options
@click.pass_obj
def add(
    options: Options, /, paths: tuple[Path, ...], recursive: bool, jobs: int, **given: Any
) -> int:
    """Store files and folders as documents: .txt .md .html .pdf .docx, and rows of .jsonl .csv.

    The id is the path below the folder; a changed file replaces what was stored under it. A row
    has a text and may have an id, title, category, timestamp and metadata.

    What the node holds unchanged is neither cut nor embedded again, so the same command resumes
    an interrupted one. Exit code 1 when something could not be stored.
    """
    labels = labels_of(given)
    gathered = gather(paths, accepts=looks_like_document, recursive=recursive)
    check_ids(gathered.candidates, labels)
    report = DocumentReport(gathered)
    with report.shown(json=options.json):
        _store(options, gathered, labels, report, jobs=jobs)
    return 1 if report.failed else 0


def _store(
    options: Options, gathered: Gathered, labels: Labels, report: DocumentReport, *, jobs: int
) -> None:
    files = gathered.candidates
    # How many rows a file has shows when it has been read.
    total = None if any(has_rows(one.path) for one in files) else len(files)
    with open_client(options, patience_s=PATIENCE_S) as node:
        # Before anything is read, so that a wrong key or address is said at once.
        node.status()
        done = closing(DocumentStore(node, labels).store_all(loads(files, labels), jobs=jobs))
        with Progress("Storing", total=total) as progress, done as arriving:
            for one in arriving:
                report.take(one)
                progress.advance(len(one.outcomes))


class DocumentReport(Report[Outcome]):
    """What became of documents."""

    noun = "document"
    statuses: ClassVar = {"created": "new", "updated": "updated", "unchanged": "unchanged"}
    what_is_ignored = "no document by name"
    list_name = "documents"

    def __init__(self, gathered: Gathered) -> None:
        super().__init__(gathered.ignored)
        self._files = len(gathered.candidates)
        self._ended = 0

    def take(self, done: Done) -> None:
        """Note what became of a load."""
        self.outcomes += done.outcomes
        self._ended += done.load.ends

    @property
    def left(self) -> int:
        """How many files were not reached, or not to their end."""
        return self._files - self._ended

    def remarks(self) -> Iterator[str]:
        """What was guessed or left out where a file was read."""
        told = [
            f"  {one_line(outcome.place)}: {one_line(remark)}"
            for outcome in self.outcomes
            for remark in outcome.notes
        ]
        yield from told[:REMARKS_SHOWN]
        if len(told) > REMARKS_SHOWN:
            yield f"  And {len(told) - REMARKS_SHOWN:,} more remarks; --json has all."

    def entry(self, outcome: Outcome) -> dict[str, Any]:
        """One document, for programs."""
        return outcome_json(outcome)
