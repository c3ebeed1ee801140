"""Files that survive a loss of power: atomic writes, synced trees, copies that keep holes."""

from __future__ import annotations

import os
from pathlib import Path

CHUNK_BYTES = 1 << 20
ZEROS = bytes(CHUNK_BYTES)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at once; on return file and folder are synced."""
    scratch = path.with_name(path.name + ".new")
    with scratch.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Sync every file and folder beneath."""
    for place, _, names in os.walk(folder):
        for name in names:
            with (Path(place) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))


def copy_tree(source: Path, target: Path) -> None:
    """Copy all files beneath `source`. The engine allocates ahead: holes stay holes."""
    for place, _, names in os.walk(source):
        folder = target / Path(place).relative_to(source)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            _copy_file(Path(place) / name, folder / name)


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            if chunk == ZEROS[: len(chunk)]:
                writer.seek(len(chunk), os.SEEK_CUR)
            else:
                writer.write(chunk)
        writer.truncate()
