"""Follow a folder: what appears there once it is complete, and what is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from skerry.cli.folders import Accepts, Candidate, candidate_below, gather
from skerry.cli.output import note, one_line
from skerry.errors import (
    NodeUnreachable,
    NotFound,
    ServiceUnavailable,
    SkerryError,
    StorageFull,
)

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])
State = tuple[int, int]
LOOK_EVERY_MS = 200
LOOK_ANEW_EVERY_S = 60.0
LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Gone:
    """A file that was given before and is no longer there."""

    path: Path


@dataclass
class Arrivals:
    """Files seen in `folder`, each held back until it stays the same for `settle_s`."""

    folder: Path
    accepts: Accepts
    settle_s: float
    now: Callable[[], float] = time.monotonic
    _waiting: dict[Path, tuple[State | None, float]] = field(default_factory=dict)
    _given: dict[Path, State] = field(default_factory=dict)

    def see(self, paths: Iterable[Path]) -> None:
        """Note files that appeared, changed or went."""
        for path in paths:
            if path.is_dir():
                # A folder moved in whole sends one event, for itself.
                self.see(self._files_in(path))
            elif not _is_hidden(path, self.folder) and path not in self._waiting:
                self._waiting[path] = (None, self.now())
                # And one that is moved away.
                self.see(known for known in list(self._given) if path in known.parents)

    def look(self) -> None:
        """Note all that is in the folder, and what was and is not any more."""
        self.see(self._files_in(self.folder))
        self.see(path for path in list(self._given) if not path.exists())

    def complete(self) -> list[Candidate]:
        """Files that have settled, each given once for each of its contents."""
        return [change for change in self.changes() if isinstance(change, Candidate)]

    def changes(self) -> list[Candidate | Gone]:
        """Files that have settled, and those given before that stay away as long."""
        ready: list[Candidate | Gone] = []
        for path, (seen, since) in list(self._waiting.items()):
            state = _state(path)
            known = self._given.get(path)
            if state == known:
                del self._waiting[path]
            elif state != seen:
                self._waiting[path] = (state, self.now())
            elif self.now() - since >= self.settle_s:
                del self._waiting[path]
                ready += self._settled(path, state)
        return ready

    def _settled(self, path: Path, state: State | None) -> Iterator[Candidate | Gone]:
        if state is None:
            del self._given[path]
            yield Gone(path)
        elif self.accepts(path):
            self._given[path] = state
            yield candidate_below(self.folder, path)

    def _files_in(self, folder: Path) -> Iterator[Path]:
        found = gather([folder], accepts=self.accepts)
        return (candidate.path for candidate in found.candidates)


def follow(arrivals: Arrivals, *, poll: bool) -> Iterator[Candidate | Gone]:
    """What is in the folder, then each change, until Ctrl-C; NotFound when the folder goes."""
    device = _device(arrivals.folder)
    events = _events(arrivals.folder, poll=poll)
    next(events)
    note(f"Watching {one_line(arrivals.folder)}; Ctrl-C ends.")
    look_at = 0.0
    for changed in events:
        # An empty mount point is not a folder whose files were all deleted.
        if _device(arrivals.folder) != device:
            raise NotFound(f"The folder {arrivals.folder} is gone.")
        arrivals.see(changed)
        if time.monotonic() >= look_at:
            # The first look comes after the watch began, so that nothing falls between; later
            # ones find what the system told of too late or, with too many changes, not at all.
            arrivals.look()
            look_at = time.monotonic() + LOOK_ANEW_EVERY_S
        yield from arrivals.changes()


def until_it_works(send: Callable[[], T], *, noun: str) -> T:
    """Call `send` again while the node is away, busy or full, saying so once."""
    pause_s, said = 0.5, ""
    while True:
        try:
            result = send()
        except (NodeUnreachable, ServiceUnavailable, StorageFull) as error:
            if error.code != said:
                note(f"{error.message} Waiting.")
                said = error.code
            time.sleep(error.retry_after_s or pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            continue
        if said:
            note(f"The node takes {noun}s again.")
        return result


def watch_options(function: Function) -> Function:
    """Give the command FOLDER, `--settle` and `--poll`."""
    poll = click.option(
        "--poll", is_flag=True, help="Look for changes instead of waiting for events."
    )
    settle = click.option(
        "--settle",
        "settle_s",
        type=click.FloatRange(0),
        metavar="S",
        default=1.0,
        show_default=True,
        help="Seconds a file must stay unchanged to count as complete.",
    )
    folder = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
    return folder(settle(poll(function)))


def _events(folder: Path, *, poll: bool) -> Iterator[list[Path]]:
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


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _device(folder: Path) -> int | None:
    try:
        return folder.stat().st_dev
    except OSError:
        return None


def _state(path: Path) -> State | None:
    try:
        status = path.stat()
    except OSError:  # gone again, or renamed: the new name has an event of its own
        return None
    return status.st_size, status.st_mtime_ns
