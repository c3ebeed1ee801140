"""A load generator for machines without wrk: raw sockets, one task per client.

Run as a program with one JSON argument; prints one line of JSON. It costs several times wrk's
processor time, which the figures of the server then lack.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Order:
    """What to send where; `head` and `tail` go around each body."""

    url: str
    paths: Sequence[str]
    head: str
    tail: str
    content_type: str
    unique_every: int
    mark: str
    clients: int
    seconds: float


@dataclass(slots=True)
class Tally:
    """Answers so far."""

    durations_ms: list[float]
    failed: int = 0


def requests(order: Order) -> Callable[[], bytes]:
    """Gives the next request's bytes."""
    target = urlsplit(order.url)
    path = f"{target.path}?{target.query}" if target.query else target.path or "/"
    bodies = [Path(name).read_bytes() for name in order.paths]
    numbers = count(1)

    def encoded(body: bytes) -> bytes:
        whole = order.head.encode() + body + order.tail.encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {target.netloc}\r\n"
            f"Content-Type: {order.content_type}\r\nContent-Length: {len(whole)}\r\n\r\n"
        )
        return head.encode() + whole

    ready = [encoded(body) for body in bodies]

    def following() -> bytes:
        number = next(numbers)
        at = (number - 1) % len(ready)
        if order.unique_every and number % order.unique_every == 0:
            return encoded(bodies[at] + f"{order.mark}{number}".encode())
        return ready[at]

    return following


async def client(order: Order, following: Callable[[], bytes], until: float, tally: Tally) -> None:
    """One connection that sends, waits for the whole answer, and sends again."""
    target = urlsplit(order.url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    while (began := time.perf_counter()) < until:
        writer.write(following())
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        await reader.readexactly(int(length[1]) if length else 0)
        tally.failed += head[9:10] != b"2"
        tally.durations_ms.append(1e3 * (time.perf_counter() - began))
    writer.close()


async def run(order: Order) -> dict[str, float]:
    """The whole burst, in the shape of `_load.Load`."""
    tally = Tally([])
    following = requests(order)
    began = time.perf_counter()
    clients = [client(order, following, began + order.seconds, tally) for _ in range(order.clients)]
    await asyncio.gather(*clients)
    cuts = quantiles(tally.durations_ms, n=100)
    return {
        "requests": len(tally.durations_ms),
        "seconds": time.perf_counter() - began,
        "p50_ms": cuts[49],
        "p95_ms": cuts[94],
        "p99_ms": cuts[98],
        "failed": tally.failed,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Order(**json.loads(sys.argv[1]))))))
