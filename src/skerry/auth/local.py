"""A key for this box: written at each start where only the node's own user can read it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from skerry.auth.keys import new_local_secret
from skerry.errors import StorageFull, StoreUnavailable

FILE_NAME = "local.key"


def write_local_key(folder: Path) -> str:
    """Write a new secret to `<folder>/local.key`, mode 0600, and return it."""
    secret = new_local_secret()
    path = folder / FILE_NAME
    partial = path.with_name(f"{FILE_NAME}.{os.getpid()}")
    try:
        partial.unlink(missing_ok=True)
        # Born with its mode: at no moment could another user have opened it.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
        partial.rename(path)
    except OSError as error:
        failure = StorageFull if error.errno == errno.ENOSPC else StoreUnavailable
        raise failure(f"Cannot write {path}: {error.strerror}.") from error
    return secret


def read_local_key(folder: Path) -> str | None:
    """The secret of the node that runs on this data folder; None when it cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        return (folder / FILE_NAME).read_text("ascii").strip() or None
    return None


def remove_local_key(folder: Path, secret: str) -> None:
    """Remove the file at the end of the run, unless another node has written its own."""
    if read_local_key(folder) == secret:
        (folder / FILE_NAME).unlink(missing_ok=True)
