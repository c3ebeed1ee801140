"""The data folder: one node at a time, and its names survive a loss of power."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from skerry.errors import StoreUnavailable


def lock_folder(data: Path) -> int:
    """Make and lock the data folder; the file descriptor holds the lock until it is closed.

    Raises StoreUnavailable when another node holds it or it cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(
            f"Cannot use the data folder {data}: {error.strerror}.",
            remedy="Name a folder you may write with --data.",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreUnavailable(
            f"Another node uses the data folder {data}.",
            remedy="Stop it, or name another folder with --data.",
        ) from None
    return descriptor


def sync_folders(*folders: Path) -> None:
    """Make the names in these folders survive a loss of power: a new database is one of them."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
