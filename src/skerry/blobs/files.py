"""Blobs as files: written aside, synced, then renamed to their hash."""

from __future__ import annotations

import errno
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skerry.errors import StorageFull, StoreUnavailable

_SHA256 = re.compile(r"[0-9a-f]{64}")
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class FileBlobs:
    """The `BlobStore` in a folder: `ab/abcd…`, and `incoming/` for what is being written.

    One level of 256 folders holds a million blobs well; a second costs two more syncs for most
    new blobs. Thread-safe. The caller vouches that the name is the sha256 of the bytes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"
        # A folder whose entry is known to be on disk; the first use in a process makes sure.
        self._durable_folders: set[Path] = set()
        # A put of bytes that are there must not be overtaken by a sweep of the same bytes.
        self._lock = threading.Lock()
        with _explained(f"create the folder {folder}"):
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._make_durable(self._incoming)
            # The file system's clock, which may lag behind ours, is the one to compare with.
            os.utime(self._incoming)
            self._opened_at_ns = self._incoming.stat().st_mtime_ns

    def put(self, sha256: str, data: bytes) -> None:
        """Store; on return file and folder are synced. Storing the same bytes again is a no-op."""
        target = self._target(sha256)
        with _explained(f"store {target}"):
            if not self._touch(target):
                self._write(target, data)
            # Also when it was there: whoever renamed it may not have synced the folder yet.
            _sync_folder(target.parent)

    def path(self, sha256: str) -> Path | None:
        """Where the bytes lie, or None."""
        if not _is_blob(sha256):
            return None
        target = self._target(sha256)
        return target if target.is_file() else None

    def delete(self, sha256: str) -> bool:
        """Remove; True when it was there."""
        target = self._target(sha256)
        with _explained(f"remove {target}"), suppress(FileNotFoundError):
            target.unlink()
            return True
        return False

    def all(self) -> Iterator[str]:
        """The sha256 of every stored blob."""
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            yield from sorted(path.name for path in folder.iterdir() if _is_blob(path.name))

    def sweep(self, keep: Callable[[str], bool]) -> int:
        """Remove what a crash left, and say how many files: unfinished ones, and blobs for which
        `keep` is False.

        Safe beside `put`: only what was last touched before this store was opened is removed.
        """
        with _explained(f"sweep {self.folder}"):
            removed = sum(self._remove_stale(path) for path in self._incoming.iterdir())
            for sha256 in self.all():
                if not keep(sha256):
                    removed += self._remove_stale(self._target(sha256))
        return removed

    def _target(self, sha256: str) -> Path:
        if not _is_blob(sha256):
            raise ValueError(f"not a sha256: {sha256!r}")
        return self.folder / sha256[:2] / sha256

    def _touch(self, target: Path) -> bool:
        with self._lock, suppress(FileNotFoundError):
            os.utime(target)
            return True
        return False

    def _write(self, target: Path, data: bytes) -> None:
        partial = self._incoming / f"{target.name}.{uuid.uuid4().hex}"
        try:
            with partial.open("xb", buffering=0) as file:
                _write_all(file.fileno(), data)
                os.fsync(file.fileno())
            self._make_durable(target.parent)
            partial.rename(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _make_durable(self, folder: Path) -> None:
        """Create the folder; on return its entry, and those above it, are synced."""
        if folder in self._durable_folders:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if folder != self.folder:
            self._make_durable(folder.parent)
        _sync_folder(folder.parent)
        self._durable_folders.add(folder)

    def _remove_stale(self, path: Path) -> bool:
        with self._lock, suppress(FileNotFoundError):
            if path.stat().st_mtime_ns < self._opened_at_ns:
                path.unlink()
                return True
        return False


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise StorageFull(f"No space is left to {doing}.") from error
        raise StoreUnavailable(
            f"Cannot {doing}: {error.strerror}.",
            remedy="Check that the data folder exists and that this user may write to it.",
        ) from error


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_blob(name: str) -> bool:
    return _SHA256.fullmatch(name) is not None
