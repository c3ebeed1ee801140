"""What every store takes: bounds on keys, values, times to live and counters."""

from __future__ import annotations

import re

from skerry.errors import BadRequest, Conflict, PayloadTooLarge

MAX_KEY_BYTES = 16 << 10
MAX_TTL_S = 10_000_000_000.0
INTEGERS = range(-(2**63), 2**63)

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")


def encode_key(key: str) -> bytes:
    """The key as UTF-8; BadRequest when it is too long or holds half a surrogate pair."""
    try:
        encoded = key.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("A key contains half of a surrogate pair.") from error
    if len(encoded) > MAX_KEY_BYTES:
        raise BadRequest(f"A key is longer than {MAX_KEY_BYTES} bytes.")
    return encoded


def check_value(value: bytes, *, max_bytes: int) -> None:
    """PayloadTooLarge when the value passes the store's bound."""
    if len(value) > max_bytes:
        raise PayloadTooLarge(
            f"A value of {len(value)} bytes passes the store's bound of {max_bytes}.",
            remedy="Store a reference to it, or raise max_value_bytes.",
        )


def check_ttl(ttl_s: float | None) -> None:
    """BadRequest unless the time to live is positive (None: for ever)."""
    if ttl_s is not None and not 0 < ttl_s <= MAX_TTL_S:
        raise BadRequest(f"A time to live must be positive seconds, not {ttl_s}.")


def add_to(value: bytes | None, by: int) -> int:
    """The counter's next value; Conflict when `value` is no integer or the sum passes 64 bits."""
    if value is not None and not _INTEGER.fullmatch(value):
        raise not_a_counter()
    total = int(value or 0) + by
    if total not in INTEGERS or int(value or 0) not in INTEGERS:
        raise not_a_counter()
    return total


def not_a_counter() -> Conflict:
    """The value cannot be added to."""
    return Conflict("The value is not an integer of 64 bits, or would pass them.")
