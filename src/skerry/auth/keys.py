"""Keys: made, listed, revoked, and checked on every request without touching the disk."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast, get_args

from skerry.errors import BadRequest, Conflict, NotFound, Unauthorized

if TYPE_CHECKING:
    from skerry.sql.base import Database, Transaction

Scope = Literal["read", "infer", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Each includes those before it."""

LOCAL_ID = "local"

_COLUMNS = "id, name, hash, scope, created_at, expires_at, revoked_at, last_used_at"
_SECRET = re.compile(r"sk_([0-9a-f]{8}|local)_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
# What an unknown id is compared with, so that it costs what a known one costs.
_NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class Key:
    """A key as stored: the SHA-256 of its secret, never the secret. Times are Unix seconds."""

    id: str
    name: str
    hash: bytes
    scope: Scope
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None

    def allows(self, scope: str) -> bool:
        """Whether this key's scope includes `scope`."""
        return SCOPES.index(self.scope) >= SCOPES.index(cast(Scope, scope))

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


class KeyRing:
    """All keys, held in memory; the database has them first.

    `local_secret` is a key of this run with the scope admin, not stored (see `auth/local.py`).
    """

    def __init__(self, db: Database, *, local_secret: str | None = None) -> None:
        self._db = db
        self._keys: dict[str, Key] = {}
        self._used: dict[str, int] = {}
        self._local = _local_key(local_secret) if local_secret else None
        self._load()

    @property
    def is_open(self) -> bool:
        """True while no key was made, or all are revoked; then nobody is asked for one.

        An expired key still counts: time passing must not open a node.
        """
        return all(key.revoked_at is not None for key in self._keys.values())

    def list(self) -> list[Key]:
        """All keys, revoked and expired ones included, oldest first."""
        keys = [self._with_use(key) for key in self._keys.values()]
        return sorted(keys, key=lambda key: (key.created_at, key.name))

    def verify(self, secret: str) -> Key:
        """The key of this secret, in microseconds; Unauthorized when there is none that is live."""
        match = _SECRET.fullmatch(secret)
        key_id = match[1] if match else ""
        key = self._local if key_id == LOCAL_ID else self._keys.get(key_id)
        expected = key.hash if key else _NO_HASH
        if not hmac.compare_digest(_hash(secret), expected) or key is None:
            raise Unauthorized("This key is unknown.")
        # Who holds the secret may know what became of the key.
        if key.revoked_at is not None:
            raise Unauthorized(f"The key '{key.name}' was revoked.")
        now = time.time()
        if key.expired(now):
            moment = datetime.fromtimestamp(cast(int, key.expires_at), UTC)
            raise Unauthorized(f"The key '{key.name}' expired on {moment:%Y-%m-%d %H:%M} UTC.")
        self._used[key.id] = int(now)
        return key

    async def create(
        self, name: str, *, scope: Scope, expires_at: int | None = None
    ) -> tuple[Key, str]:
        """A new key and its secret, which cannot be shown again.

        Raises BadRequest, and Conflict when a key of this name is in use.
        """
        _check(name, scope, expires_at)
        key_id = secrets.token_hex(4)
        secret = f"sk_{key_id}_{secrets.token_urlsafe(32)}"
        key = Key(key_id, name, _hash(secret), scope, int(time.time()), expires_at)
        await self._db.write(lambda tx: _insert(tx, key))
        self._load()
        return key, secret

    async def revoke(self, reference: str) -> Key:
        """End the key with this id or name at once; NotFound when none is live."""
        live = [key for key in self._keys.values() if key.revoked_at is None]
        found = [key for key in live if reference in (key.id, key.name)]
        if not found:
            raise NotFound(f"No key '{reference[:64]}' is in use.", remedy="See: skerry keys list")
        key = next((key for key in found if key.id == reference), found[0])
        await self._db.write(
            lambda tx: tx.execute(
                "UPDATE keys SET revoked_at = ? WHERE id = ?", (int(time.time()), key.id)
            )
        )
        self._load()
        return self._keys[key.id]

    async def store_use(self) -> None:
        """Write down when keys were last used: called now and then, and at the end."""
        used, self._used = self._used, {}
        used.pop(LOCAL_ID, None)
        if used:
            await self._db.write(lambda tx: _store_use(tx, used))
            self._load()

    def _load(self) -> None:
        rows = self._db.read(f"SELECT {_COLUMNS} FROM keys")  # noqa: S608
        self._keys = {row[0]: Key(*row) for row in rows}

    def _with_use(self, key: Key) -> Key:
        return replace(key, last_used_at=self._used.get(key.id, key.last_used_at))


def new_local_secret() -> str:
    """A secret that `KeyRing(local_secret=…)` takes."""
    return f"sk_{LOCAL_ID}_{secrets.token_urlsafe(32)}"


def _hash(secret: str) -> bytes:
    # No slow hash: the secret is 256 random bits, which nobody guesses.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _local_key(secret: str) -> Key:
    return Key(LOCAL_ID, LOCAL_ID, _hash(secret), "admin", int(time.time()))


def _check(name: str, scope: str, expires_at: int | None) -> None:
    if not _NAME.fullmatch(name) or name == LOCAL_ID:
        raise BadRequest(
            f"A key cannot be named {name[:64]!r}.",
            remedy="1 to 64 printable characters, and not 'local'.",
        )
    if scope not in SCOPES:
        raise BadRequest(f"There is no scope '{scope}'.", remedy=f"One of {', '.join(SCOPES)}.")
    if expires_at is not None and expires_at <= time.time():
        raise BadRequest("The key would expire in the past.")


def _insert(tx: Transaction, key: Key) -> None:
    if list(tx.execute("SELECT 1 FROM keys WHERE name = ? AND revoked_at IS NULL", (key.name,))):
        raise Conflict(
            f"A key '{key.name}' is in use.", remedy="Choose another name, or revoke it first."
        )
    tx.execute(
        f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",  # noqa: S608
        (key.id, key.name, key.hash, key.scope, key.created_at, key.expires_at),
    )


def _store_use(tx: Transaction, used: dict[str, int]) -> None:
    for key_id, moment in used.items():
        tx.execute("UPDATE keys SET last_used_at = ? WHERE id = ?", (moment, key_id))
