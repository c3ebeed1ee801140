"""`skerry images watch`: store what appears in a folder, once it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from skerry.cli.http import open_client
from skerry.cli.images_add import outcome_json
from skerry.cli.ingest import Candidate, Ingest, Marks, Outcome, candidate_below, gather
from skerry.cli.ingest import looks_like_image as is_image
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import note, one_line, print_json, say, style
from skerry.cli.parameters import tag, tag_name
from skerry.errors import (
    NodeUnreachable,
    NotFound,
    ServiceUnavailable,
    SkerryError,
    StorageFull,
)

T = TypeVar("T")
LOOK_EVERY_MS = 200
LOOK_ANEW_EVERY_S = 60.0
LONGEST_PAUSE_S = 10.0


@click.command(
    short_help="Store what is in a folder and what appears there.",
    epilog=examples(
        "skerry images watch inbox/",
        "skerry images watch shelves/ --tag-by-folder shelf",
        "skerry images watch /mnt/camera --poll     network drives send no events",
    ),
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--tag", "tags", type=tag, multiple=True, metavar="NAME=VALUE", help="Tag each image."
)
@click.option("--tag-by-folder", type=tag_name, metavar="NAME", help="Tag NAME with sub-folder.")
@click.option("--uploaded-by", metavar="WHO", help="Who adds them; else the key's name.")
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(0),
    metavar="S",
    default=1.0,
    show_default=True,
    help="Seconds a file must stay unchanged to count as complete.",
)
@click.option("--poll", is_flag=True, help="Look for changes instead of waiting for events.")
@node_options
@click.pass_obj
def watch(
    options: Options,
    folder: Path,
    tags: tuple[tuple[str, str], ...],
    tag_by_folder: str | None,
    uploaded_by: str | None,
    settle_s: float,
    poll: bool,
) -> None:
    """Store the images in FOLDER and every one that appears there, until Ctrl-C.

    A file is sent once it has stopped growing. Files that are deleted stay stored. While the node
    is away, files wait. With --json, one JSON object a line.
    """
    marks = Marks(uploaded_by, dict(tags), tag_by_folder)
    arrivals = Arrivals(folder.resolve(), settle_s=settle_s)
    with open_client(options) as node:
        ingest = Ingest(node, marks, ask_first=True)
        # Before the first look, so that a wrong key or address is said at once.
        node.status()
        for candidate in _arriving(arrivals, poll=poll):
            _print(until_it_works(partial(ingest.store, candidate)), json=options.json)


def _arriving(arrivals: Arrivals, *, poll: bool) -> Iterator[Candidate]:
    events = _changes(arrivals.folder, poll=poll)
    next(events)
    note(f"Watching {one_line(arrivals.folder)}; Ctrl-C ends.")
    look_at = 0.0
    for changed in events:
        if not arrivals.folder.is_dir():
            raise NotFound(f"The folder {arrivals.folder} is gone.")
        arrivals.see(changed)
        if time.monotonic() >= look_at:
            # The first look comes after the watch began, so that nothing falls between; later
            # ones find what the system told of too late or, with too many changes, not at all.
            arrivals.see(candidate.path for candidate in gather([arrivals.folder]).candidates)
            look_at = time.monotonic() + LOOK_ANEW_EVERY_S
        yield from arrivals.complete()


def _changes(folder: Path, *, poll: bool) -> Iterator[list[Path]]:
    """What changed, and an empty list every `LOOK_EVERY_MS` when nothing did."""
    from watchfiles import watch as changes_in

    try:
        for changes in changes_in(
            folder,
            watch_filter=None,
            step=LOOK_EVERY_MS // 4,
            debounce=LOOK_EVERY_MS,
            rust_timeout=LOOK_EVERY_MS,
            yield_on_timeout=True,
            force_polling=poll or None,
            ignore_permission_denied=True,
        ):
            yield [Path(path) for _, path in changes]
    except (OSError, RuntimeError) as error:
        reason = f"Cannot watch {folder}: {error}."
        raise SkerryError(
            reason, remedy="Use --poll, which needs nothing of the system."
        ) from error


@dataclass
class Arrivals:
    """Files seen in `folder`, each held back until it stays the same for `settle_s`."""

    folder: Path
    settle_s: float
    now: Callable[[], float] = time.monotonic
    _waiting: dict[Path, tuple[tuple[int, int] | None, float]] = field(default_factory=dict)
    _stored: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def see(self, paths: Iterable[Path]) -> None:
        """Note files that appeared or changed."""
        for path in paths:
            if path.is_dir():
                # A folder moved in whole sends one event, for itself.
                self.see(candidate.path for candidate in gather([path]).candidates)
            elif not _is_hidden(path, self.folder) and path not in self._waiting:
                self._waiting[path] = (None, self.now())

    def complete(self) -> list[Candidate]:
        """Files that have settled, each given once for each of its contents."""
        ready = []
        for path, (seen, since) in list(self._waiting.items()):
            state = _state(path)
            if state is None or state == self._stored.get(path):
                del self._waiting[path]
            elif state != seen:
                self._waiting[path] = (state, self.now())
            elif self.now() - since >= self.settle_s:
                del self._waiting[path]
                self._stored[path] = state
                ready.append(path)
        return [candidate_below(self.folder, path) for path in ready if is_image(path)]


def until_it_works(store: Callable[[], T]) -> T:
    """Call `store` again while the node is away, busy or full, saying so once."""
    pause_s, said = 0.5, ""
    while True:
        try:
            result = store()
        except (NodeUnreachable, ServiceUnavailable, StorageFull) as error:
            if error.code != said:
                note(f"{error.message} Waiting.")
                said = error.code
            time.sleep(error.retry_after_s or pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            continue
        if said:
            note("The node takes images again.")
        return result


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # gone again, or renamed: the new name has an event of its own
        return None
    return status.st_size, status.st_mtime_ns


def _print(outcome: Outcome, *, json: bool) -> None:
    if json:
        print_json(outcome_json(outcome))
    elif outcome.error:
        failed = style("failed", err=True, fg="red")
        note(f"{failed}  {one_line(outcome.path)}: {one_line(outcome.error)}")
    elif outcome.status == "created":
        first = f"  {outcome.labels[0]}" if outcome.labels else ""
        say(f"{style('stored', fg='green')}  {outcome.id}  {one_line(outcome.path)}{first}")
    else:
        say(f"{style('known', dim=True)}   {outcome.id}  {one_line(outcome.path)}")
