"""`skerry docs watch`: keep the documents of a node as the files of a folder are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.documents.files import Labels, loads, looks_like_document
from skerry.cli.documents.options import label_options, labels_of
from skerry.cli.documents.store import DocumentStore, Outcome, outcome_json
from skerry.cli.folders import Candidate
from skerry.cli.http import open_client
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import count, note, one_line, print_json, say, style
from skerry.cli.watching import Arrivals, follow, until_it_works, watch_options
from skerry.errors import DocumentNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from skerry.client import Client

COLOURS = {"created": "green", "updated": "green", "removed": "yellow"}


@click.command(
    short_help="Store what is in a folder and what changes there.",
    epilog=examples(
        "skerry docs watch manuals/",
        "skerry docs watch manuals/ --delete --category-from-folder",
        "skerry docs watch /mnt/share --poll     network drives send no events",
    ),
)
@label_options
@click.option(
    "--delete", is_flag=True, help="Remove the document when its file is deleted while watched."
)
@watch_options
@node_options
@click.pass_obj
def watch(
    options: Options, /, folder: Path, delete: bool, settle_s: float, poll: bool, **given: Any
) -> None:
    """Store the documents in FOLDER, and each that appears or changes there, until Ctrl-C.

    A file is sent once it has stopped growing. What is deleted stays stored without --delete; and
    what was deleted while nobody watched stays until 'skerry docs remove'. While the node is
    away, files wait. With --json, one JSON object a line.
    """
    arrivals = Arrivals(folder.resolve(), looks_like_document, settle_s=settle_s)
    with open_client(options) as node:
        mirror = Mirror(node, labels_of(given), delete=delete)
        # Before the first look, so that a wrong key or address is said at once.
        node.status()
        for change in follow(arrivals, poll=poll):
            outcomes = (
                mirror.store(change) if isinstance(change, Candidate) else mirror.gone(change.path)
            )
            for outcome in outcomes:
                _print(outcome, json=options.json)


class Mirror:
    """Stores what changes in a folder, and removes what went if `delete`; waits for the node."""

    def __init__(self, node: Client, labels: Labels, *, delete: bool) -> None:
        self._node = node
        self._labels = labels
        self._delete = delete
        self._store = DocumentStore(node, labels)
        self._held: dict[Path, frozenset[str]] = {}
        """The documents of each file."""

    def store(self, candidate: Candidate) -> Iterator[Outcome]:
        """Store a file, and remove the rows that it no longer has."""
        kept: set[str] = set()
        for load in loads([candidate], self._labels):
            done = until_it_works(partial(self._store.store, load), noun="document")
            kept.update(outcome.id for outcome in done.outcomes if outcome.id)
            yield from done.outcomes
            if any(outcome.error for outcome in done.outcomes):
                # A row that cannot be read does not say which document it was.
                kept |= self._held.get(candidate.path, frozenset())
        dropped = self._held.get(candidate.path, frozenset()) - kept
        self._held[candidate.path] = frozenset(kept)
        if self._delete:
            yield from self._remove(dropped, str(candidate.path))

    def gone(self, path: Path) -> Iterator[Outcome]:
        """Remove the documents of a file, or say that they stay."""
        held = self._held.pop(path, frozenset())
        if self._delete:
            yield from self._remove(held, str(path))
        elif held:
            documents = count(len(held), "document")
            note(f"{one_line(path)} is gone; its {documents} stay stored (see --delete).")

    def _remove(self, ids: frozenset[str], place: str) -> Iterator[Outcome]:
        for document_id in sorted(ids):
            until_it_works(partial(self._remove_one, document_id), noun="document")
            yield Outcome(place, "removed", document_id)

    def _remove_one(self, id: str) -> None:
        try:
            self._node.documents.remove(id)
        except DocumentNotFound:  # somebody else was faster
            return


def _print(outcome: Outcome, *, json: bool) -> None:
    if json:
        print_json(outcome_json(outcome))
    elif outcome.error:
        failed = style("failed", err=True, fg="red")
        note(f"{failed}     {one_line(outcome.place)}: {one_line(outcome.error)}")
    else:
        colour = COLOURS.get(outcome.status)
        how: dict[str, Any] = {"fg": colour} if colour else {"dim": True}
        say(f"{style(f'{outcome.status:9}', **how)}  {one_line(outcome.id)}")
        for remark in outcome.notes:
            note(f"           {one_line(remark)}")
