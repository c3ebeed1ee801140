"""Bound what request bodies cost together: the bytes held at once, and the waiting for more."""

from __future__ import annotations

from skerry.deadlines import Deadlines
from skerry.errors import Overloaded


class Intake:
    """Bodies are bounded one by one; without this, many at once would still fill the memory."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self.patience = Deadlines()
        """With clients whose bodies have not arrived yet."""

    def take(self, count_bytes: int) -> None:
        """Hold so many more bytes; Overloaded when they would be too many."""
        if self._held_bytes + count_bytes > self._limit_bytes:
            raise Overloaded(
                f"Requests under way hold {self._held_bytes} bytes of bodies already.",
                retry_after_s=1.0,
            )
        self._held_bytes += count_bytes

    def give_back(self, count_bytes: int) -> None:
        """Hold so many less."""
        self._held_bytes -= count_bytes
