"""A served node with played text models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from played_node import PlayedNode, PlayedTexts, Served, serving


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    with serving(PlayedNode()) as started:
        yield started


@pytest.fixture
def served(running: Served) -> Served:
    """One server a module, with text models that nobody has asked anything."""
    running.node.texts = PlayedTexts()
    return running
