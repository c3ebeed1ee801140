"""Values in this process's memory: the fastest, gone with the process."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cachetools import TLRUCache

from skerry.errors import PayloadTooLarge, StorageFull
from skerry.kv.base import Lease
from skerry.kv.values import add_to, check_ttl, check_value, encode_key

# What Python spends on an entry beside its key and value, measured with tracemalloc.
OVERHEAD_BYTES = 450


class MemoryOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Keys of the table in skerry.toml."""

    max_bytes: int = 128 << 20
    """Bound on all entries. To make room, values with a time to live go, least recently used
    first; a value without one stays, and what does not fit beside those is refused."""
    max_value_bytes: int = 16 << 20


class _Passing(NamedTuple):
    value: bytes
    expires_at: float
    size: int


class MemoryStore:
    """A `KeyValueStore` of one process; to be used from one event loop."""

    Options = MemoryOptions
    shared = "process"

    def __init__(self, options: MemoryOptions, *, folder: Path | None = None) -> None:
        self._options = options
        self._kept: dict[str, bytes] = {}
        self._kept_bytes = 0
        # Expiry and eviction are the library's; what has no time to live must not be evicted.
        self._passing: Any = TLRUCache(
            options.max_bytes,
            ttu=lambda key, entry, now: entry.expires_at,
            getsizeof=lambda entry: entry.size,
        )
        self._locks: dict[str, tuple[int, float]] = {}
        # Tokens grow from one run to the next too, for what remembers them.
        self._tokens = itertools.count(time.time_ns())

    async def get(self, key: str) -> bytes | None:
        """The value, or None when absent or expired."""
        return self._get(key)

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Store; StorageFull when `max_bytes` is taken by values without a time to live."""
        check_ttl(ttl_s)
        self._put(key, bytes(value), None if ttl_s is None else time.monotonic() + ttl_s)

    async def delete(self, key: str) -> bool:
        """Remove; True when it was there."""
        return self._remove(key)

    async def keys(self, prefix: str = "") -> list[str]:
        """Live keys that start with `prefix`, sorted."""
        return sorted(key for key in (*self._kept, *self._passing) if key.startswith(prefix))

    async def increment(self, key: str, by: int = 1) -> int:
        """Add atomically; the time to live stays as it was."""
        entry = self._passing.get(key)
        total = add_to(self._get(key), by)
        self._put(key, str(total).encode(), entry.expires_at if entry else None)
        return total

    async def compare_and_set(
        self, key: str, *, expected: bytes | None, value: bytes, ttl_s: float | None = None
    ) -> bool:
        """Store only when the present value is `expected`; True when stored."""
        if self._get(key) != expected:
            return False
        await self.set(key, value, ttl_s=ttl_s)
        return True

    async def acquire(self, name: str, *, ttl_s: float) -> Lease | None:
        """Take the lock `name` within this process, or None when another holds it."""
        encode_key(name)
        check_ttl(ttl_s)
        now = time.monotonic()
        if name in self._locks and now < self._locks[name][1]:
            return None
        lease = Lease(name, next(self._tokens))
        self._locks[name] = (lease.token, now + ttl_s)
        return lease

    async def release(self, lease: Lease) -> bool:
        """Give the lock back; False when it had expired or passed to another."""
        token, expires_at = self._locks.get(lease.name, (0, 0.0))
        if token != lease.token:
            return False
        del self._locks[lease.name]
        return time.monotonic() < expires_at

    async def clear(self, prefix: str = "") -> int:
        """Delete the keys that start with `prefix`; how many."""
        return sum(self._remove(key) for key in await self.keys(prefix))

    async def close(self) -> None:
        """Free the memory."""
        self._kept.clear()
        self._passing.clear()
        self._kept_bytes = 0

    def _get(self, key: str) -> bytes | None:
        encode_key(key)
        entry = self._passing.get(key)
        return entry.value if entry else self._kept.get(key)

    def _put(self, key: str, value: bytes, expires_at: float | None) -> None:
        size = len(encode_key(key)) + len(value) + OVERHEAD_BYTES
        check_value(value, max_bytes=self._options.max_value_bytes)
        if size > self._options.max_bytes:
            raise PayloadTooLarge(f"A value of {len(value)} bytes passes max_bytes of the store.")
        replaced = self._size_kept(key)
        if self._kept_bytes - replaced + size > self._options.max_bytes:
            raise StorageFull(
                "The store is full of values without a time to live.",
                remedy="Raise max_bytes, delete values, or give them a time to live.",
            )
        self._remove(key)
        if expires_at is None:
            self._kept[key] = value
            self._kept_bytes += size
        self._make_room(0 if expires_at is None else size)
        if expires_at is not None:
            self._passing[key] = _Passing(value, expires_at, size)

    def _make_room(self, size: int) -> None:
        self._passing.expire()
        while self._passing and (
            self._kept_bytes + self._passing.currsize + size > self._options.max_bytes
        ):
            self._passing.popitem()

    def _remove(self, key: str) -> bool:
        self._kept_bytes -= self._size_kept(key)
        in_kept = self._kept.pop(key, None) is not None
        return self._passing.pop(key, None) is not None or in_kept

    def _size_kept(self, key: str) -> int:
        value = self._kept.get(key)
        return 0 if value is None else len(key.encode()) + len(value) + OVERHEAD_BYTES
