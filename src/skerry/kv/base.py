"""The contract of a key-value store: values with a time to live, counters, locks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lock; `token` grows with every holder, so a store can refuse a late one (fencing)."""

    name: str
    token: int


class KeyValueStore(Protocol):
    """Bytes under string keys. Raises StoreUnavailable when the store cannot be reached."""

    shared: str
    """Who sees the same values: `process`, `box` (processes on one machine), `network`."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None when absent or expired."""

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Store, replacing value and time to live; None keeps it until deleted."""

    async def delete(self, key: str) -> bool:
        """Remove; True when it was there."""

    async def keys(self, prefix: str = "") -> list[str]:
        """Live keys that start with `prefix`, sorted."""

    async def increment(self, key: str, by: int = 1) -> int:
        """Add atomically to a decimal integer (absent counts as 0) and return the sum."""

    async def compare_and_set(
        self, key: str, *, expected: bytes | None, value: bytes, ttl_s: float | None = None
    ) -> bool:
        """Store only when the present value is `expected` (None: absent); True when stored."""

    async def acquire(self, name: str, *, ttl_s: float) -> Lease | None:
        """Take the lock `name` for `ttl_s`, or None when another holds it."""

    async def release(self, lease: Lease) -> bool:
        """Give the lock back; False when it had already passed to another."""

    async def clear(self, prefix: str = "") -> int:
        """Delete the keys that start with `prefix`; how many."""

    async def close(self) -> None:
        """Free connections and files."""
