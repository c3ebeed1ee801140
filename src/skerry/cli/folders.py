"""Find the files under folders that a command is for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from skerry.errors import NotFound

Accepts = Callable[[Path], bool]
# A download or a copy under way; it gets its real name when it is whole.
UNFINISHED_NAMES = {".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp", ".temp"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to store; `folder` is its sub-folder below the folder that was named."""

    path: Path
    folder: str = ""

    @property
    def relative(self) -> str:
        """The path below the folder that was named, with slashes."""
        return f"{self.folder}/{self.path.name}" if self.folder else self.path.name


@dataclass(slots=True)
class Gathered:
    """What was found: files to store, and files left out because nothing says they are meant."""

    candidates: list[Candidate] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)


def gather(paths: Iterable[Path], *, accepts: Accepts, recursive: bool = True) -> Gathered:
    """Files named, and those `accepts` takes in the folders named; hidden ones are not looked at.

    Raises NotFound for a path that is neither.
    """
    gathered = Gathered()
    for path in paths:
        if path.is_dir():
            _gather_folder(path, gathered, accepts=accepts, recursive=recursive)
        elif path.exists():
            gathered.candidates.append(Candidate(path))
        else:
            raise NotFound(f"There is no file or folder '{path}'.")
    return gathered


def _gather_folder(top: Path, gathered: Gathered, *, accepts: Accepts, recursive: bool) -> None:
    for where, folders, names in os.walk(top):
        # Sorted, so that a second run goes the same way.
        folders[:] = sorted(n for n in folders if not n.startswith(".")) if recursive else []
        for name in sorted(n for n in names if not n.startswith(".")):
            path = Path(where, name)
            if accepts(path):
                gathered.candidates.append(candidate_below(top, path))
            else:
                gathered.ignored.append(path)


def candidate_below(top: Path, path: Path) -> Candidate:
    """`path` with its sub-folder below `top`, written with slashes."""
    folder = path.parent.relative_to(top).as_posix()
    return Candidate(path, "" if folder == "." else folder)


def is_unfinished(path: Path) -> bool:
    """Whether the name says that the file is still being written, or a copy an editor left."""
    return path.suffix.lower() in UNFINISHED_NAMES or path.name.endswith("~")
