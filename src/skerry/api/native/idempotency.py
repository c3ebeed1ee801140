"""`Idempotency-Key`: a POST that is sent again gets its first answer again."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable

import msgspec

from skerry.api.contract import Answer, Exchange
from skerry.errors import BadRequest, Conflict, SkerryError

log = logging.getLogger(__name__)

KEPT_S = 86_400.0
CLAIM_S = 60.0


class Remembered(msgspec.Struct, array_like=True):
    """An answer as it is kept: the request's fingerprint, status and body."""

    request: str
    status: int
    body: bytes


async def once(
    exchange: Exchange,
    *,
    request: Callable[[], str],
    work: Callable[[], Awaitable[Answer]],
) -> Answer:
    """Run `work`, or give the answer of the earlier request with the same key.

    `request` gives the fingerprint of what is asked.
    Raises Conflict while that request still runs, or when it was another request.
    """
    given = exchange.headers.get(b"idempotency-key")
    if given is None:
        return await work()
    if not 1 <= len(given) <= 255:
        raise BadRequest("'Idempotency-Key' has 1 to 255 characters.")
    kv, name, asked = exchange.node.kv, _name(exchange, given), request()
    claim = msgspec.msgpack.encode(Remembered(asked, 0, b""))
    if not await kv.compare_and_set(name, expected=None, value=claim, ttl_s=CLAIM_S):
        return _again(await kv.get(name), asked)
    try:
        answer = await work()
    except BaseException:
        # Nothing was answered: the same key may try again.
        await asyncio.shield(kv.delete(name))
        raise
    kept = msgspec.msgpack.encode(Remembered(asked, answer.status, answer.body))
    try:
        await kv.set(name, kept, ttl_s=KEPT_S)
    except SkerryError as error:
        # The work is done: to answer that it failed would be untrue.
        log.warning("An answer is not kept for its Idempotency-Key: %s", error.message)
    return answer


def _again(kept: bytes | None, request: str) -> Answer:
    if kept is None:
        raise Conflict("The first request with this Idempotency-Key failed.", remedy="Resend it.")
    first = msgspec.msgpack.decode(kept, type=Remembered)
    if first.request != request:
        raise Conflict(
            "This Idempotency-Key was used for another request.", remedy="Use a new one."
        )
    if first.status == 0:
        raise Conflict("The first request with this Idempotency-Key still runs.", remedy="Wait.")
    return Answer(first.status, first.body, headers={"idempotent-replayed": "true"})


def _name(exchange: Exchange, given: bytes) -> str:
    caller = exchange.key.id if exchange.key else ""
    return f"idempotency:{caller}:{hashlib.sha256(given).hexdigest()}"
