"""Send an answer piece by piece, and end the work as soon as nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import msgspec
from starlette.types import Send

from skerry.api.bodies import ClientGone
from skerry.api.contract import Exchange, StreamAnswer
from skerry.errors import ServiceUnavailable, SkerryError

SEND_S = 30.0
"""A client that takes nothing for so long is let go: what it waits for holds a slot."""
Headers = list[tuple[bytes, bytes]]


def sse_event(value: msgspec.Struct) -> bytes:
    """One server-sent event: its JSON."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


@asynccontextmanager
async def while_connected(exchange: Exchange) -> AsyncIterator[None]:
    """Cancel the block when the client closes the connection, and raise ClientGone.

    Only once the body has been read: what still arrives is lost.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    def leave(_: asyncio.Task[None]) -> None:
        nonlocal gone
        gone = True
        task.cancel()

    watch = asyncio.create_task(_disconnected(exchange))
    watch.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        watch.remove_done_callback(leave)
        watch.cancel()


async def started(
    chunks: AsyncGenerator[bytes, None], exchange: Exchange
) -> AsyncGenerator[bytes, None]:
    """The same chunks once the first is there; what fails before it is raised here."""
    async with while_connected(exchange):
        first = await anext(chunks)
    return _chain(first, chunks)


async def send_stream(
    answer: StreamAnswer,
    exchange: Exchange,
    send: Send,
    *,
    headers: Headers,
    told: Callable[[Exception], SkerryError],
) -> None:
    """Send the chunks; `told` notes what ends them early and says what the client may know.

    Raises ClientGone when the client leaves before the end.
    """
    async with aclosing(answer.chunks) as chunks:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        last = await _send_chunks(chunks, answer, exchange, send, told=told)
    await send({"type": "http.response.body", "body": last})


async def _send_chunks(
    chunks: AsyncGenerator[bytes, None],
    answer: StreamAnswer,
    exchange: Exchange,
    send: Send,
    *,
    told: Callable[[Exception], SkerryError],
) -> bytes:
    """What must still be sent when the chunks have ended: nothing, or the error."""
    try:
        async with while_connected(exchange):
            async for chunk in chunks:
                await _send_chunk(chunk, send)
    except ClientGone:
        raise
    except asyncio.CancelledError:
        # The server cuts what lasts beyond the drain; the client hears it, and the task ends.
        return answer.failed(told(_stopping()))
    except Exception as error:  # A bug or a failed part: the status is out, the stream says it.
        return answer.failed(told(error))
    return b""


async def _send_chunk(chunk: bytes, send: Send) -> None:
    try:
        async with asyncio.timeout(SEND_S):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except OSError:  # TimeoutError is one.
        raise ClientGone from None


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def _disconnected(exchange: Exchange) -> None:
    # The server may report the end of the body once more before it reports the client's going.
    while (await exchange.receive())["type"] != "http.disconnect":
        pass


def _stopping() -> ServiceUnavailable:
    return ServiceUnavailable(
        "The node is stopping; this answer was cut short.", remedy="Send the request again."
    )
