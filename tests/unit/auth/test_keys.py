import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.auth.keys import SCOPES, KeyRing, new_local_secret
from skerry.errors import BadRequest, Conflict, NotFound, Unauthorized
from skerry.sql.sqlite import SqliteDatabase


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "skerry.db")
    yield database
    await database.close()


@pytest.fixture
def ring(db: SqliteDatabase) -> KeyRing:
    return KeyRing(db)


async def test_created_secret_verifies_and_only_its_hash_is_stored(db, ring, tmp_path):
    key, secret = await ring.create("till-3", scope="infer")
    assert re.fullmatch(r"sk_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", secret)
    found = ring.verify(secret)
    assert (found.id, found.name, found.scope) == (key.id, "till-3", "infer")
    await db.write(lambda tx: None)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in stored
    assert secret[12:].encode() not in stored


async def test_key_is_known_after_opening_again(db, ring):
    _, secret = await ring.create("till-3", scope="read")
    assert KeyRing(db).verify(secret).name == "till-3"


@pytest.mark.parametrize(
    "secret",
    ["", "sk_", "x" * 10_000, "sk_00000000_" + "a" * 43, "sk_local_" + "a" * 43, "\ud800é"],
)
async def test_unknown_secret_is_unauthorized(ring, secret):
    await ring.create("till-3", scope="read")
    with pytest.raises(Unauthorized):
        ring.verify(secret)


async def test_right_id_with_a_wrong_secret_is_unauthorized(ring):
    key, secret = await ring.create("till-3", scope="read")
    forged = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    with pytest.raises(Unauthorized, match="unknown"):
        ring.verify(forged)
    assert key.id in forged


@pytest.mark.parametrize("by", ["id", "name"])
async def test_revoked_key_ends_at_once(ring, by):
    key, secret = await ring.create("till-3", scope="read")
    revoked = await ring.revoke(getattr(key, by))
    assert revoked.revoked_at is not None
    with pytest.raises(Unauthorized, match="revoked"):
        ring.verify(secret)
    with pytest.raises(NotFound):
        await ring.revoke(getattr(key, by))
    assert [key.name for key in ring.list()] == ["till-3"]


async def test_expired_key_is_refused_and_does_not_open_the_node(ring, monkeypatch):
    _, secret = await ring.create("till-3", scope="read", expires_at=int(time.time()) + 60)
    ring.verify(secret)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthorized, match="expired"):
        ring.verify(secret)
    assert not ring.is_open


async def test_node_is_open_without_keys_and_after_the_last_is_revoked(ring):
    assert ring.is_open
    await ring.create("a", scope="read")
    assert not ring.is_open
    await ring.revoke("a")
    assert ring.is_open


async def test_name_is_unique_among_live_keys_and_free_after_revocation(ring):
    await ring.create("till-3", scope="read")
    with pytest.raises(Conflict):
        await ring.create("till-3", scope="admin")
    await ring.revoke("till-3")
    await ring.create("till-3", scope="admin")
    assert [key.scope for key in ring.list() if key.revoked_at is None] == ["admin"]


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "a\x00", "local"])
async def test_name_that_cannot_stand_in_a_list_is_refused(ring, name):
    with pytest.raises(BadRequest):
        await ring.create(name, scope="read")


async def test_unknown_scope_and_past_expiry_are_refused(ring):
    with pytest.raises(BadRequest, match="root"):
        await ring.create("a", scope="root")
    with pytest.raises(BadRequest, match="past"):
        await ring.create("a", scope="read", expires_at=1)


async def test_each_scope_includes_those_before_it(ring):
    for rank, scope in enumerate(SCOPES):
        key, _ = await ring.create(scope, scope=scope)
        assert [key.allows(other) for other in SCOPES] == [i <= rank for i in range(4)]


async def test_last_use_is_shown_at_once_and_stored_when_asked(db, ring):
    _, secret = await ring.create("a", scope="read")
    assert ring.list()[0].last_used_at is None
    ring.verify(secret)
    assert ring.list()[0].last_used_at is not None
    assert KeyRing(db).list()[0].last_used_at is None
    await ring.store_use()
    assert KeyRing(db).list()[0].last_used_at == ring.list()[0].last_used_at


async def test_local_secret_is_admin_is_not_stored_and_leaves_the_node_open(db):
    secret = new_local_secret()
    ring = KeyRing(db, local_secret=secret)
    key = ring.verify(secret)
    assert (key.name, key.scope) == ("local", "admin")
    assert ring.is_open and ring.list() == []
    await ring.store_use()
    with pytest.raises(Unauthorized):
        KeyRing(db, local_secret=new_local_secret()).verify(secret)
    with pytest.raises(Unauthorized):
        KeyRing(db).verify(secret)


async def test_verify_reads_nothing_from_the_database(db, ring, monkeypatch):
    _, secret = await ring.create("a", scope="read")

    def refuse(*arguments: object) -> None:
        raise AssertionError("verify went to the database")

    monkeypatch.setattr(db, "read", refuse)
    ring.verify(secret)
    with pytest.raises(Unauthorized):
        ring.verify("sk_00000000_" + "a" * 43)
