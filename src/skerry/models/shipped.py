"""Read what this package's `data` folder holds; its README names the sources."""

from __future__ import annotations

from importlib import resources


def shipped(file: str) -> bytes:
    """The content of one of its files."""
    return resources.files("skerry.models").joinpath("data", file).read_bytes()
