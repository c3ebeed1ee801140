"""The contract of the blob store: immutable bytes under their sha256."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


class BlobStore(Protocol):
    """Content-addressed files. Errors: StorageFull, StoreUnavailable. All methods block."""

    def put(self, sha256: str, data: bytes) -> None:
        """Store; on return file and folder are synced. Storing the same bytes again is a no-op."""

    def path(self, sha256: str) -> Path | None:
        """Where the bytes lie, or None."""

    def delete(self, sha256: str) -> bool:
        """Remove; True when it was there."""

    def all(self) -> Iterator[str]:
        """The sha256 of every stored blob."""
