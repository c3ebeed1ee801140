"""Who may call: the caller's key, its scope, and where a browser's request comes from."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

from skerry.api.contract import Access, Exchange
from skerry.auth.hosts import check_origin
from skerry.auth.keys import Key
from skerry.errors import Forbidden, Unauthorized

SESSION_COOKIE = "skerry_session"


def authorise(exchange: Exchange, access: Access) -> Key | None:
    """The caller's key, None where none is needed; Unauthorized or Forbidden otherwise."""
    secret = header_secret(exchange)
    if secret is None and (origin := _text(exchange, b"origin")):
        # Without a key in a header it may be a browser acting for a foreign page.
        check_origin(origin, host=_text(exchange, b"host"), method=_method(exchange))
    if access == "public":
        return None
    if exchange.node.is_open:
        return None
    secret = secret or cookie_secret(exchange)
    if not secret:
        raise Unauthorized("This node needs a key.")
    key = exchange.node.keys.verify(secret)
    if not key.allows(access):
        raise Forbidden(
            f"The key '{key.name}' has the scope '{key.scope}'; this needs '{access}'.",
            remedy=f"Create one with: skerry keys create --name NAME --scope {access}",
        )
    return key


def header_secret(exchange: Exchange) -> str | None:
    """The key from `Authorization: Bearer` or `X-Api-Key`."""
    authorization = _text(exchange, b"authorization")
    if authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    return _text(exchange, b"x-api-key") or None


def cookie_secret(exchange: Exchange) -> str | None:
    """The key a browser signed in with."""
    try:
        cookie = SimpleCookie(_text(exchange, b"cookie"))
    except CookieError:
        return None
    morsel = cookie.get(SESSION_COOKIE)
    return morsel.value if morsel else None


def _text(exchange: Exchange, name: bytes) -> str:
    return exchange.headers.get(name, b"").decode("latin-1")


def _method(exchange: Exchange) -> str:
    return str(exchange.scope["method"])
