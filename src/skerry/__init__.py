"""Skerry: an edge AI node in one command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime's Linux wheels gather usage data and send it to their maker. It reads this before
# anything else of it can be called, so it is set here, before any part imports it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from skerry.client import connect

__all__ = ["__version__", "connect"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The client brings httpx; commands and the node should not pay for it at import.
    if name == "connect":
        from skerry.client import connect

        return connect
    raise AttributeError(f"module 'skerry' has no attribute {name!r}")
