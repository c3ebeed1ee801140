"""The folders of an index: one generation serves, another may be in the making."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from skerry.vectors.files import write_atomically

POINTER = "current"
NAME = re.compile(r"gen-(\d{4,})")


class Generations:
    """`gen-0001/`, `gen-0002/` … and the file `current` that names the one in use. Blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self) -> Path:
        """The generation in use; a new one when none is named."""
        try:
            name = (self._folder / POINTER).read_text("utf-8").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            name = ""
        if NAME.fullmatch(name):
            return self._folder / name
        fresh = self.fresh()
        self.use(fresh)
        return fresh

    def fresh(self) -> Path:
        """A name that no generation has."""
        numbers = [int(match[1]) for match in map(NAME.fullmatch, self._names()) if match]
        return self._folder / f"gen-{max(numbers, default=0) + 1:04d}"

    def use(self, generation: Path) -> None:
        """Name the one in use; synced on return."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / POINTER, generation.name.encode())

    def discard_others(self, keep: Path) -> None:
        """Delete what crashed or superseded generations left."""
        for name in self._names():
            if NAME.fullmatch(name) and name != keep.name:
                shutil.rmtree(self._folder / name, ignore_errors=True)

    def discard_all(self) -> None:
        """Delete the index."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _names(self) -> list[str]:
        return [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
