"""`/api/keys`: who may call this node; `/api/session`: a browser signs in with a key."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from skerry.api.bodies import read_json
from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.api.guard import SESSION_COOKIE, cookie_secret
from skerry.api.native.times import unix_seconds
from skerry.auth.keys import Key
from skerry.errors import SkerryError

SESSION_S = 30 * 86_400


class KeyJson(msgspec.Struct):
    """A key without its secret."""

    id: str
    name: str
    scope: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/keys`."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    scope: Literal["read", "infer", "write", "admin"]
    expires_at: int | str | None = None


class CreatedKey(msgspec.Struct):
    """A new key; the secret is shown this once."""

    key: KeyJson
    secret: str


class KeysAnswer(msgspec.Struct):
    """All keys, revoked and expired ones included."""

    keys: list[KeyJson]


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/session`."""

    key: str


class SessionAnswer(msgspec.Struct):
    """Whether a key is needed, and which one this browser has."""

    open: bool
    signed_in: bool
    scope: str | None = None
    name: str | None = None


def key_json(key: Key) -> KeyJson:
    """The wire form of a key."""
    return KeyJson(
        key.id, key.name, key.scope, key.created_at,
        key.expires_at, key.revoked_at, key.last_used_at,
    )  # fmt: skip


async def list_keys(exchange: Exchange) -> Answer:
    """All keys."""
    return json_answer(KeysAnswer([key_json(key) for key in exchange.node.keys.list()]))


async def create_key(exchange: Exchange) -> Answer:
    """Make a key; from the first one on, every request needs one."""
    wanted = await read_json(exchange, NewKey)
    expires_at = unix_seconds(wanted.expires_at, "expires_at")
    key, secret = await exchange.node.keys.create(
        wanted.name, scope=wanted.scope, expires_at=expires_at
    )
    return json_answer(CreatedKey(key_json(key), secret), status=201)


async def revoke_key(exchange: Exchange) -> Answer:
    """End a key now."""
    await exchange.node.keys.revoke(exchange.path["key"])
    return Answer(204)


async def get_session(exchange: Exchange) -> Answer:
    """What this browser may do."""
    if exchange.node.is_open:
        return json_answer(SessionAnswer(open=True, signed_in=False, scope="admin"))
    secret = cookie_secret(exchange)
    try:
        key = exchange.node.keys.verify(secret or "")
    except SkerryError:
        return json_answer(SessionAnswer(open=False, signed_in=False))
    return json_answer(SessionAnswer(open=False, signed_in=True, scope=key.scope, name=key.name))


async def sign_in(exchange: Exchange) -> Answer:
    """Keep the key in a cookie that no script can read."""
    wanted = await read_json(exchange, SignIn)
    exchange.node.keys.verify(wanted.key)
    return Answer(204, headers={"set-cookie": _cookie(exchange, wanted.key, max_age_s=SESSION_S)})


async def sign_out(exchange: Exchange) -> Answer:
    """Forget the cookie."""
    return Answer(204, headers={"set-cookie": _cookie(exchange, "", max_age_s=0)})


def _cookie(exchange: Exchange, value: str, *, max_age_s: int) -> str:
    # TLS ends at the proxy in front of the node.
    secure = "; Secure" if exchange.headers.get(b"x-forwarded-proto") == b"https" else ""
    attributes = f"Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}"
    return f"{SESSION_COOKIE}={value}; {attributes}"


ROUTES = [
    Route("GET", "/api/keys", "admin", list_keys, "All keys, without their secrets.",
          answers={200: KeysAnswer}),
    Route("POST", "/api/keys", "admin", create_key, "Create a key; its secret is shown once.",
          body="json", body_type=NewKey, answers={201: CreatedKey}, errors=(409, 413, 507)),
    Route("DELETE", "/api/keys/{key}", "admin", revoke_key, "Revoke a key, by id or name.",
          answers={204: None}, errors=(404,)),
    Route("GET", "/api/session", "public", get_session, "Whether a key is needed here.",
          answers={200: SessionAnswer}),
    Route("POST", "/api/session", "public", sign_in, "Sign a browser in with a key.",
          body="json", body_type=SignIn, answers={204: None}, errors=(401, 413)),
    Route("DELETE", "/api/session", "public", sign_out, "Sign this browser out.",
          answers={204: None}),
]  # fmt: skip
