"""Values in a Redis server: shared by all nodes that reach it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from skerry.errors import ConfigError, StorageFull, StoreUnavailable
from skerry.kv.base import Lease
from skerry.kv.values import INTEGERS, check_ttl, check_value, encode_key, not_a_counter

MAX_CONNECTIONS = 32
BATCH = 500

SWAP = """
local present = redis.call('GET', KEYS[1])
if ARGV[1] == '' then
  if present then return 0 end
elseif present ~= ARGV[2] then
  return 0
end
if ARGV[4] == '' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
return 1
"""
# The counter outlives the lock: each holder's token is larger than all before it.
ACQUIRE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
"""
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Keys of the table in skerry.toml."""

    url: str = ""
    """`redis://[user:password@]host:6379/0`, `rediss://` for TLS, `unix://path`."""
    prefix: str = "skerry:"
    """Stands before every key, so that others may use the server too."""
    timeout_s: float = 1.0
    """How long one command, or the wait for a connection, may take."""
    max_value_bytes: int = 16 << 20


class RedisStore:
    """A `KeyValueStore` of the network. Its locks hold across boxes as long as the server lives.

    Under memory pressure the server evicts as it is configured; `volatile-lru` keeps values
    without a time to live.
    """

    Options = RedisOptions
    shared = "network"

    def __init__(self, options: RedisOptions, *, folder: Path | None = None) -> None:
        self._options = options
        self._values = f"{options.prefix}value:".encode()
        self._client = Redis.from_pool(_pool(options))
        self._swap = self._client.register_script(SWAP)
        self._acquire = self._client.register_script(ACQUIRE)
        self._release = self._client.register_script(RELEASE)
        details = self._client.connection_pool.connection_kwargs
        self._place = details.get("path") or f"{details.get('host')}:{details.get('port', 6379)}"

    async def get(self, key: str) -> bytes | None:
        """The value, or None when absent or expired."""
        with self._explained():
            value: bytes | None = await self._client.get(self._key(key))
            return value

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Store; StorageFull when the server's memory is."""
        check_value(value, max_bytes=self._options.max_value_bytes)
        with self._explained():
            await self._client.set(self._key(key), value, px=_milliseconds(ttl_s))

    async def delete(self, key: str) -> bool:
        """Remove; True when it was there."""
        with self._explained():
            return bool(await self._client.delete(self._key(key)))

    async def keys(self, prefix: str = "") -> list[str]:
        """Live keys that start with `prefix`, sorted; walks all keys of the server."""
        with self._explained():
            found = {key async for batch in self._scan(prefix) for key in batch}
        return sorted(key.removeprefix(self._values).decode("utf-8", "replace") for key in found)

    async def increment(self, key: str, by: int = 1) -> int:
        """Add atomically; the time to live stays as it was."""
        if by not in INTEGERS:
            raise not_a_counter()
        with self._explained():
            try:
                return int(await self._client.incrby(self._key(key), by))
            except exceptions.ResponseError as error:
                if "not an integer" in str(error) or "overflow" in str(error):
                    raise not_a_counter() from error
                raise

    async def compare_and_set(
        self, key: str, *, expected: bytes | None, value: bytes, ttl_s: float | None = None
    ) -> bool:
        """Store only when the present value is `expected`; True when stored."""
        check_value(value, max_bytes=self._options.max_value_bytes)
        present = b"" if expected is None else b"1"
        arguments = [present, expected or b"", value, _milliseconds(ttl_s) or b""]
        with self._explained():
            return bool(await self._swap(keys=[self._key(key)], args=arguments))

    async def acquire(self, name: str, *, ttl_s: float) -> Lease | None:
        """Take the lock `name` among all nodes, or None when another holds it."""
        with self._explained():
            token = await self._acquire(keys=self._lock_keys(name), args=[_milliseconds(ttl_s)])
        return Lease(name, int(token)) if token else None

    async def release(self, lease: Lease) -> bool:
        """Give the lock back; False when it had expired or passed to another."""
        keys = self._lock_keys(lease.name)[:1]
        with self._explained():
            return bool(await self._release(keys=keys, args=[lease.token]))

    async def clear(self, prefix: str = "") -> int:
        """Delete the keys that start with `prefix`; how many."""
        removed = 0
        with self._explained():
            async for batch in self._scan(prefix):
                removed += await self._client.unlink(*batch)
        return removed

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    def _key(self, key: str) -> bytes:
        return self._values + encode_key(key)

    def _lock_keys(self, name: str) -> list[bytes]:
        kinds = ("lock", "fence")
        return [f"{self._options.prefix}{kind}:".encode() + encode_key(name) for kind in kinds]

    async def _scan(self, prefix: str) -> AsyncIterator[list[bytes]]:
        pattern = _literal(self._key(prefix)) + b"*"
        cursor: int | bytes = 0
        while True:
            cursor, batch = await self._client.scan(cursor, match=pattern, count=BATCH)
            if batch:
                yield batch
            if not int(cursor):
                return

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except exceptions.OutOfMemoryError as error:
            raise StorageFull(
                f"The Redis server at {self._place} is out of memory.",
                remedy="Raise its maxmemory, or set maxmemory-policy to volatile-lru.",
            ) from error
        except exceptions.AuthenticationError as error:
            raise self._unavailable("refuses the login", error) from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            raise self._unavailable("does not answer", error) from error
        except exceptions.RedisError as error:
            raise self._unavailable("refuses the command", error) from error

    def _unavailable(self, what: str, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"The Redis server at {self._place} {what}: {error}.",
            remedy="Check the server and the url in skerry.toml.",
        )


def _pool(options: RedisOptions) -> BlockingConnectionPool:
    if not options.url:
        raise ConfigError("The Redis store needs a url.", remedy="url = 'redis://127.0.0.1:6379/0'")
    try:
        return BlockingConnectionPool.from_url(
            options.url,
            max_connections=MAX_CONNECTIONS,
            timeout=options.timeout_s,
            socket_timeout=options.timeout_s,
            socket_connect_timeout=options.timeout_s,
            # A command sent twice would count twice.
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise ConfigError(f"The Redis url cannot be used: {error}") from error


def _milliseconds(ttl_s: float | None) -> int | None:
    check_ttl(ttl_s)
    return None if ttl_s is None else math.ceil(ttl_s * 1000)


def _literal(text: bytes) -> bytes:
    """`text` with the signs escaped that a pattern of Redis reads as its own."""
    special = b"\\*?[]"
    escaped: Any = (b"\\%c" % byte if byte in special else b"%c" % byte for byte in text)
    return b"".join(escaped)
