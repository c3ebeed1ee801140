"""What every test of the native HTTP contract starts from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest


@pytest.fixture
def client(node: Any) -> Iterator[httpx.Client]:
    """An HTTP client at the shared node."""
    with node.client() as client:
        yield client
