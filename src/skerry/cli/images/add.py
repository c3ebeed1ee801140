"""`skerry images add`: store files and folders, and say what could not be stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import click

from skerry.cli.folders import Gathered
from skerry.cli.http import open_client
from skerry.cli.images.ingest import Ingest, Marks, Outcome, gather_images
from skerry.cli.options import Options, examples, node_options
from skerry.cli.parameters import tag, tag_name
from skerry.cli.progress import Progress
from skerry.cli.reports import Report, error_json
from skerry.cli.sending import jobs_option

PATIENCE_S = 120.0


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
@jobs_option
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
    gathered = gather_images(paths, recursive=recursive)
    report = ImageReport(gathered, marks)
    with report.shown(json=options.json):
        _store(options, gathered, marks, report, jobs=jobs)
    return 1 if report.failed else 0


def _store(
    options: Options, gathered: Gathered, marks: Marks, report: ImageReport, *, jobs: int
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


class ImageReport(Report[Outcome]):
    """What became of image files."""

    noun = "image"
    statuses: ClassVar = {"created": "new", "exists": "stored before"}
    what_is_ignored = "no image by name or content"
    list_name = "files"

    def __init__(self, gathered: Gathered, marks: Marks) -> None:
        super().__init__(gathered.ignored)
        self._total = len(gathered.candidates)
        self._marks = marks

    @property
    def left(self) -> int:
        """How many files were not reached."""
        return self._total - len(self.outcomes)

    def entry(self, outcome: Outcome) -> dict[str, Any]:
        """One file, for programs."""
        return outcome_json(outcome)

    def remarks(self) -> Iterator[str]:
        """That what was stored before did not change."""
        if self.counts()["exists"] and (self._marks.tags or self._marks.folder_tag):
            yield "Images stored before keep their tags; 'skerry images tag' changes them."


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What became of one file, for programs."""
    entry: dict[str, Any] = {"file": str(outcome.path), "status": outcome.status}
    if outcome.error is None:
        return {**entry, "id": outcome.id, "labels": outcome.labels}
    return {**entry, "error": error_json(outcome.error)}
