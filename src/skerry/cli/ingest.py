"""Find image files under folders and store them on a node, skipping what it holds."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from skerry.errors import (
    Forbidden,
    ImageUnreadable,
    NodeUnreachable,
    NotFound,
    ServiceUnavailable,
    SkerryError,
    StorageFull,
    Unauthorized,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

    from skerry.client import Client

IMAGE_NAMES = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
# A download or a copy under way; it gets its real name when it is whole.
UNFINISHED_NAMES = {".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp", ".temp"}

# With these no later file would fare better.
FATAL = (NodeUnreachable, Unauthorized, Forbidden, StorageFull, ServiceUnavailable)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to store; `folder` is its sub-folder below the folder that was named."""

    path: Path
    folder: str = ""


@dataclass(slots=True)
class Gathered:
    """What was found: files to store, and files left out because nothing says they are images."""

    candidates: list[Candidate] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    path: Path
    status: Literal["created", "exists", "failed"]
    id: int = 0
    labels: tuple[str, ...] = ()
    error: SkerryError | None = None


@dataclass(frozen=True, slots=True)
class Marks:
    """What is stored beside the bytes; `folder_tag` names the tag that holds the sub-folder."""

    uploaded_by: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    folder_tag: str | None = None

    def tags_of(self, candidate: Candidate) -> dict[str, str]:
        """The tags of one file."""
        if self.folder_tag and candidate.folder:
            return {**self.tags, self.folder_tag: candidate.folder}
        return dict(self.tags)


def gather(paths: Iterable[Path], *, recursive: bool = True) -> Gathered:
    """Files named, and images in the folders named; hidden files are not looked at.

    Raises NotFound for a path that is neither.
    """
    gathered = Gathered()
    for path in paths:
        if path.is_dir():
            _gather_folder(path, gathered, recursive=recursive)
        elif path.exists():
            gathered.candidates.append(Candidate(path))
        else:
            raise NotFound(f"There is no file or folder '{path}'.")
    return gathered


def _gather_folder(top: Path, gathered: Gathered, *, recursive: bool) -> None:
    for where, folders, names in os.walk(top):
        # Sorted, so that a second run goes the same way.
        folders[:] = sorted(n for n in folders if not n.startswith(".")) if recursive else []
        for name in sorted(n for n in names if not n.startswith(".")):
            path = Path(where, name)
            if looks_like_image(path):
                gathered.candidates.append(candidate_below(top, path))
            else:
                gathered.ignored.append(path)


def candidate_below(top: Path, path: Path) -> Candidate:
    """`path` with its sub-folder below `top`, written with slashes."""
    folder = path.parent.relative_to(top).as_posix()
    return Candidate(path, "" if folder == "." else folder)


def looks_like_image(path: Path) -> bool:
    """Whether the name or the first bytes say so; the node has the last word."""
    if path.suffix.lower() in IMAGE_NAMES:
        return True
    if path.suffix.lower() in UNFINISHED_NAMES or path.name.endswith("~"):
        return False
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(IMAGE_STARTS) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


class Ingest:
    """Stores files on one node with the same marks; usable from several threads.

    `ask_first` looks a file up by its sha256 before sending it.
    """

    def __init__(self, node: Client, marks: Marks, *, ask_first: bool) -> None:
        self.node = node
        self.marks = marks
        self.ask_first = ask_first

    def store(self, candidate: Candidate) -> Outcome:
        """Store one file; raises only the errors that would meet every other file too."""
        try:
            return self._store(candidate)
        except NodeUnreachable:
            # A node that hung up on this file alone still answers.
            self.node.status()
            hung_up = ImageUnreadable("The node closed the connection on this file.", remedy="")
            return Outcome(candidate.path, "failed", error=hung_up)
        except FATAL:
            raise
        except SkerryError as error:
            return Outcome(candidate.path, "failed", error=error)

    def store_all(
        self, candidates: Iterable[Candidate], *, jobs: int
    ) -> Generator[Outcome, None, None]:
        """Store by `jobs` threads, giving outcomes as they come; closing it ends the rest."""
        # Here and below: imported when used, since --help must not pay for it.
        from concurrent.futures import ThreadPoolExecutor

        waiting = iter(candidates)
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="skerry-add")
        try:
            running = {pool.submit(self.store, c) for c in islice(waiting, 2 * jobs)}
            while running:
                finished, running = _wait_for_some(running)
                running |= {pool.submit(self.store, c) for c in islice(waiting, len(finished))}
                for future in finished:
                    yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _store(self, candidate: Candidate) -> Outcome:
        path = candidate.path
        if self.ask_first and (known := self.node.images.find(_sha256(path))):
            return Outcome(path, "exists", known.id, tuple(x.label for x in known.labels))
        upload = self.node.images.add(
            path, uploaded_by=self.marks.uploaded_by, tags=self.marks.tags_of(candidate)
        )
        status: Any = upload.status
        return Outcome(path, status, upload.id, tuple(label.label for label in upload.labels))


def _wait_for_some(
    running: set[Future[Outcome]],
) -> tuple[set[Future[Outcome]], set[Future[Outcome]]]:
    from concurrent.futures import FIRST_COMPLETED, wait

    finished, still = wait(running, return_when=FIRST_COMPLETED)
    return finished, still


def _sha256(path: Path) -> str:
    import hashlib

    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageUnreadable(f"{error.strerror or error}.", remedy="") from error
