"""Find image files under folders and store them on a node, skipping what it holds."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from skerry.cli.folders import Candidate, Gathered, gather, is_unfinished
from skerry.cli.sending import attempt, side_by_side
from skerry.errors import ImageUnreadable, SkerryError

if TYPE_CHECKING:
    from skerry.client import Client

IMAGE_NAMES = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    path: Path
    status: Literal["created", "exists", "failed"]
    id: int = 0
    labels: tuple[str, ...] = ()
    error: SkerryError | None = None

    @property
    def place(self) -> Path:
        """The file."""
        return self.path


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


def gather_images(paths: Iterable[Path], *, recursive: bool = True) -> Gathered:
    """Files named, and images in the folders named; NotFound for a path that is neither."""
    return gather(paths, accepts=looks_like_image, recursive=recursive)


def looks_like_image(path: Path) -> bool:
    """Whether the name or the first bytes say so; the node has the last word."""
    if path.suffix.lower() in IMAGE_NAMES:
        return True
    if is_unfinished(path):
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
        outcome = attempt(self.node, lambda: self._store(candidate))
        if isinstance(outcome, SkerryError):
            return Outcome(candidate.path, "failed", error=outcome)
        return outcome

    def store_all(
        self, candidates: Iterable[Candidate], *, jobs: int
    ) -> Generator[Outcome, None, None]:
        """Store by `jobs` threads, giving outcomes as they come; closing it ends the rest."""
        return side_by_side(self.store, candidates, jobs=jobs)

    def _store(self, candidate: Candidate) -> Outcome:
        path = candidate.path
        if self.ask_first and (known := self.node.images.find(_sha256(path))):
            return Outcome(path, "exists", known.id, tuple(x.label for x in known.labels))
        upload = self.node.images.add(
            path, uploaded_by=self.marks.uploaded_by, tags=self.marks.tags_of(candidate)
        )
        status: Any = upload.status
        return Outcome(path, status, upload.id, tuple(label.label for label in upload.labels))


def _sha256(path: Path) -> str:
    import hashlib

    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageUnreadable(f"{error.strerror or error}.", remedy="") from error
