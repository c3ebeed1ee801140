"""Run a node behind uvicorn until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
import uvloop

from skerry.api.app import make_app
from skerry.api.http11 import BoundedHttp, raise_open_files
from skerry.config import Settings
from skerry.errors import ConfigError
from skerry.logs import configure_logging
from skerry.node.node import Node

log = logging.getLogger(__name__)
DRAIN_S = 15
KEEP_ALIVE_S = 75
"""Longer than clients keep an idle connection: else they send on one that is just being closed."""


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then finish what was admitted.

    Raises ConfigError when the address cannot be used, or lies beyond loopback while no key
    exists; StoreUnavailable when the data folder is another node's.
    """
    configure_logging(settings.log.level, format=settings.log.format)
    raise_open_files()
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    with closing(bind(settings.node.host, settings.node.port)) as listener:
        host, port = listener.getsockname()[:2]
        node = Node(settings, host=host, port=port)
        await node.open()
        log.info("listening on %s", node.url)
        settling = asyncio.create_task(_when_settled(node))
        try:
            await _server(node).serve(sockets=[listener])
        finally:
            settling.cancel()
            await node.close()


class DrainingServer(uvicorn.Server):
    """uvicorn's server, but a signal only ends `serve`: uvicorn raises it again right after.

    That would end the process before the node has closed its stores.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM begin the drain; a second SIGINT ends it."""
        loop = asyncio.get_running_loop()
        caught = (signal.SIGINT, signal.SIGTERM)
        for number in caught:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)


def _server(node: Node) -> uvicorn.Server:
    config = uvicorn.Config(
        make_app(node),
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        backlog=1024,
    )
    return DrainingServer(config)


async def _when_settled(node: Node) -> None:
    """Once images can be served: tell the person where the console is, and what is missing."""
    await node.settled()
    # What was loaded stays: the collector need not look through it again and again.
    gc.freeze()
    parts = node.board.parts().items()
    missing = [f"  {name}: {part.reason}" for name, part in parts if part.state != "ready"]
    told = "\n".join((f"  Skerry is up: {node.url}/console", *missing))
    print(f"\n{told}\n", file=sys.stderr, flush=True)  # noqa: T201


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; ConfigError when the address is taken or not this machine's."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            remedy="Stop what holds the port, or choose another with --port.",
        ) from error
    return listener
