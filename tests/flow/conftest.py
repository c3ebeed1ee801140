"""What every test of the native HTTP contract starts from."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from running_node import RunningNode


@pytest.fixture
def client(node: RunningNode) -> Iterator[httpx.Client]:
    """An HTTP client at the shared node."""
    with node.client() as client:
        yield client
