"""The folders of an index: one generation serves, another may be in the making."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from pathlib import Path

from skerry.errors import IndexUnavailable
from skerry.index.base import BackendFactory
from skerry.vectors.files import write_atomically

log = logging.getLogger(__name__)

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

    def others(self, keep: Path | None = None) -> list[Path]:
        """What crashed or superseded generations left; all of them without `keep`."""
        names = [name for name in self._names() if NAME.fullmatch(name)]
        return [self._folder / name for name in names if keep is None or name != keep.name]

    def remove(self) -> None:
        """Delete the folder of the index."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _names(self) -> list[str]:
        return [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []


async def discard(generations: list[Path], *, factory: BackendFactory) -> None:
    """Delete these, with what their backends hold elsewhere; what cannot be stays, for later."""
    for folder in generations:
        try:
            await factory(folder).destroy()
        except IndexUnavailable as error:
            fields = {"generation": folder.name}
            log.warning("Not deleted yet: %s", error.message, extra={"fields": fields})
        else:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
