"""`skerry images add`: store files and folders, and say what could not be stored."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from skerry.cli.http import open_client
from skerry.cli.ingest import Gathered, Ingest, Marks, Outcome, gather
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import count, note, one_line, print_json, say
from skerry.cli.parameters import tag, tag_name
from skerry.cli.progress import Progress
from skerry.errors import SkerryError

PATIENCE_S = 120.0
IGNORED_SHOWN = 5


@click.command(
    epilog=examples(
        "skerry images add ~/Pictures",
        "skerry images add shelf/*.jpg --tag shelf=3 --uploaded-by ann",
        "skerry images add photos/ --tag-by-folder product",
    )
)
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path)
)
@click.option(
    "--tag",
    "tags",
    type=tag,
    multiple=True,
    metavar="NAME=VALUE",
    help="Tag each image; repeatable.",
)
@click.option(
    "--tag-by-folder", type=tag_name, metavar="NAME", help="Tag NAME with the sub-folder."
)
@click.option("--uploaded-by", metavar="WHO", help="Who adds them; else the key's name.")
@click.option("--recursive/--no-recursive", default=True, help="Sub-folders too.  [default: yes]")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    default=lambda: min(8, 2 * (os.cpu_count() or 1)),
    help="Files sent side by side.  [default: two a core, at most 8]",
)
@node_options
@click.pass_obj
def add(
    options: Options,
    paths: tuple[Path, ...],
    tags: tuple[tuple[str, str], ...],
    tag_by_folder: str | None,
    uploaded_by: str | None,
    recursive: bool,
    jobs: int,
) -> int:
    """Store image files and the images in folders.

    What the node holds is skipped, so the same command resumes an interrupted one. Exit code 1
    when a file could not be stored.
    """
    marks = Marks(uploaded_by, dict(tags), tag_by_folder)
    gathered = gather(paths, recursive=recursive)
    report = Report(gathered)
    try:
        _store(options, gathered, marks, report, jobs=jobs)
    except (SkerryError, KeyboardInterrupt):
        if report.outcomes:
            report.show(json=options.json, marks=marks)
        raise
    report.show(json=options.json, marks=marks)
    return 1 if report.failed else 0


def _store(
    options: Options, gathered: Gathered, marks: Marks, report: Report, *, jobs: int
) -> None:
    with open_client(options, patience_s=PATIENCE_S) as node:
        # An empty node holds nothing to skip.
        ingest = Ingest(node, marks, ask_first=node.status().images > 0)
        total = len(gathered.candidates)
        outcomes = closing(ingest.store_all(gathered.candidates, jobs=jobs))
        with Progress("Storing", total=total) as progress, outcomes as arriving:
            for outcome in arriving:
                report.outcomes.append(outcome)
                progress.advance()


@dataclass
class Report:
    """What became of the files, also when the run was cut short."""

    gathered: Gathered
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def failed(self) -> list[Outcome]:
        """Those that could not be stored."""
        return [outcome for outcome in self.outcomes if outcome.error]

    def show(self, *, json: bool, marks: Marks) -> None:
        """Print it."""
        if json:
            print_json(self._as_json())
            return
        counts = Counter(outcome.status for outcome in self.outcomes)
        say(_summary(counts, left=len(self.gathered.candidates) - len(self.outcomes)))
        for outcome in self.failed:
            note(f"  {one_line(outcome.path)}: {one_line(outcome.error)}")
        if counts["exists"] and (marks.tags or marks.folder_tag):
            note("Images stored before keep their tags; 'skerry images tag' changes them.")
        if self.gathered.ignored:
            note(_ignored_line(self.gathered.ignored))

    def _as_json(self) -> dict[str, Any]:
        counts = Counter(outcome.status for outcome in self.outcomes)
        return {
            "created": counts["created"],
            "exists": counts["exists"],
            "failed": counts["failed"],
            "not_reached": len(self.gathered.candidates) - len(self.outcomes),
            "files": [outcome_json(outcome) for outcome in self.outcomes],
            "ignored": [str(path) for path in self.gathered.ignored],
        }


def _summary(counts: Mapping[Any, int], *, left: int) -> str:
    parts = [f"Stored {count(counts['created'], 'image')}"]
    if counts["exists"]:
        parts.append(f"{counts['exists']:,} stored before")
    if counts["failed"]:
        parts.append(f"{counts['failed']:,} could not be stored")
    if left:
        parts.append(f"{left:,} not reached: the same command goes on from here")
    return ", ".join(parts) + "."


def _ignored_line(ignored: list[Path]) -> str:
    names = ", ".join(one_line(path.name) for path in ignored[:IGNORED_SHOWN])
    more = ", ..." if len(ignored) > IGNORED_SHOWN else ""
    return f"Ignored {count(len(ignored), 'file')}, no image by name or content: {names}{more}"


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What became of one file, for programs."""
    entry: dict[str, Any] = {"file": str(outcome.path), "status": outcome.status}
    if outcome.error is None:
        return {**entry, "id": outcome.id, "labels": outcome.labels}
    return {**entry, "error": error_json(outcome.error)}


def error_json(error: SkerryError) -> dict[str, str]:
    """An error as the node's JSON has it."""
    return {"code": error.code, "message": error.message, "remedy": error.remedy}
