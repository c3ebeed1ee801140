"""Open the node that the options, the environment or this machine name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.cli.options import Options

if TYPE_CHECKING:
    from skerry.client import Client
    from skerry.config import Settings


def open_client(options: Options, *, timeout_s: float = 60.0, patience_s: float = 30.0) -> Client:
    """A client of the node; on this machine it falls back on the node's own local key."""
    from skerry.client import DEFAULT_URL, connect
    from skerry.client.transport import is_loopback, normal_url

    url = normal_url(options.url or os.environ.get("SKERRY_URL") or DEFAULT_URL)
    key = options.key or os.environ.get("SKERRY_KEY")
    if not key and is_loopback(url):
        file = settings(options).data_folder / "local.key"
        return connect(
            url, key=lambda: read_local_key(file), timeout_s=timeout_s, patience_s=patience_s
        )
    return connect(url, key=key, timeout_s=timeout_s, patience_s=patience_s)


def read_local_key(file: Path) -> str | None:
    """The key a running node leaves for commands of the same user, new at each of its starts."""
    try:
        return file.read_text("ascii").strip() or None
    except (OSError, UnicodeDecodeError):  # no node, or another user's: go without
        return None


def settings(options: Options) -> Settings:
    """The settings a node started here would have."""
    from skerry.config import load_settings

    data = str(options.data) if options.data else None
    config = os.environ.get("SKERRY_CONFIG")
    return load_settings(Path(config) if config else None, flags={"node.data": data})
