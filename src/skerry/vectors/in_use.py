"""A mark in a folder while it is in use, by which a loss of power is noticed afterwards."""

from __future__ import annotations

from pathlib import Path

from skerry.vectors.files import sync_folder, write_atomically

FILE_NAME = "in-use"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class InUse:
    """Set on opening, removed on closing.

    A process that is killed loses nothing the kernel has; a machine that goes down can leave
    pages written after the last sync beside older ones. `doubtful` tells the second: the mark
    was set before this boot. It stays doubtful until the folder is deleted. Without a boot id
    (Linux has one) nothing is noticed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        boot_id = BOOT_ID.read_bytes() if BOOT_ID.exists() else b""
        found = self._path.read_bytes() if self._path.exists() else None
        self.doubtful = found is not None and found != boot_id
        if found is None:
            write_atomically(self._path, boot_id)

    def remove(self) -> None:
        """Everything was synced: there is nothing to doubt, unless there was before."""
        if not self.doubtful:
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)
