"""Open the node that the options, the environment or this machine name."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.cli.options import Options

if TYPE_CHECKING:
    from skerry.client import Client
    from skerry.config import Settings


def open_client(options: Options, *, timeout_s: float = 60.0, patience_s: float = 30.0) -> Client:
    """A client of the node; on this machine it falls back on the node's own local key."""
    from skerry.auth.local import read_local_key
    from skerry.client import connect

    key = options.key or os.environ.get("SKERRY_KEY")
    if not key and is_here(options):
        folder = settings(options).data_folder
        # Asked for again when it is refused: a restarted node has written a new one.
        source = partial(read_local_key, folder)
        return connect(node_url(options), key=source, timeout_s=timeout_s, patience_s=patience_s)
    return connect(node_url(options), key=key, timeout_s=timeout_s, patience_s=patience_s)


def node_url(options: Options) -> str:
    """The node's address: `--url`, else SKERRY_URL, else this machine's default port."""
    from skerry.client import DEFAULT_URL
    from skerry.client.transport import normal_url

    return normal_url(options.url or os.environ.get("SKERRY_URL") or DEFAULT_URL)


def is_here(options: Options) -> bool:
    """Whether the node is this machine's."""
    from skerry.client.transport import is_loopback

    return is_loopback(node_url(options))


def settings(options: Options) -> Settings:
    """The settings a node started here would have."""
    from skerry.config import load_settings

    data = str(options.data) if options.data else None
    config = os.environ.get("SKERRY_CONFIG")
    return load_settings(Path(config) if config else None, flags={"node.data": data})
