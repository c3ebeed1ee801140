"""Let models that hold the same file have it on disk once, as hard links."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from skerry.models.files import sha256_of
from skerry.models.folder import stored_files
from skerry.models.manifest import AnyModel

log = logging.getLogger(__name__)

SHARED_FROM_BYTES = 4096
"""Smaller files are not worth it."""


def share_files(model: AnyModel, others: Iterable[AnyModel]) -> None:
    """Put in the place of the model's files equal ones of `others`, linked.

    A link outlives the model it was made from. Where there are no hard links, the copy stays.
    """
    owners = {
        (file.sha256, file.bytes): other.folder / file.file
        for other in others
        for file in stored_files(other)
    }
    for file in stored_files(model):
        owned = owners.get((file.sha256, file.bytes))
        if owned is None or file.bytes < SHARED_FROM_BYTES:
            continue
        path = model.folder / file.file
        try:
            # What the manifest says of the other's file was true when that was installed.
            if not path.samefile(owned) and sha256_of(owned) == file.sha256:
                _link(owned, path)
        except OSError as error:
            log.info("%s is not shared with %s: %s", path.name, owned.parent.name, error.strerror)


def stored_bytes(folder: Path) -> int:
    """What a model's folder takes on disk, the files that engines keep there included."""
    return sum(size for _, size in _files(folder))


def shared_bytes(folder: Path, others: Iterable[Path]) -> int:
    """How much of that other models' folders hold too: removing the model does not free it."""
    held = {file for other in others if other != folder for file, _ in _files(other)}
    return sum(size for file, size in _files(folder) if file in held)


def _link(owned: Path, path: Path) -> None:
    """One rename: the path names the copy or the link, at no time nothing."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    os.link(owned, fresh)
    fresh.replace(path)


def _files(folder: Path) -> list[tuple[tuple[int, int], int]]:
    """Each file's identity on its file system, and its size; one of several names counts once."""
    stats = (path.stat() for path in folder.rglob("*") if path.is_file())
    return list({(stat.st_dev, stat.st_ino): stat.st_size for stat in stats}.items())
