"""What every test of the native HTTP contract starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fast_model import ENVIRON, install_fast_model
from running_node import RunningNode, start_node


@pytest.fixture
def client(node: RunningNode) -> Iterator[httpx.Client]:
    """An HTTP client at the shared node."""
    with node.client() as client:
        yield client


@pytest.fixture(scope="session")
def fast_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a model that costs nothing."""
    return install_fast_model(tmp_path_factory.mktemp("fast") / "models")


@pytest.fixture
def fast_node(fast_models: Path, tmp_path: Path) -> Iterator[Callable[..., RunningNode]]:
    """Starts nodes of this test's own that load in no time; they end with it."""
    started: list[RunningNode] = []

    def start(
        name: str = "data", *, environ: dict[str, str] | None = None, **options: Any
    ) -> RunningNode:
        options.setdefault("models", fast_models)
        environ = {**ENVIRON, **(environ or {})}
        started.append(start_node(tmp_path / name, environ=environ, **options))
        return started[-1]

    yield start
    for node in started:
        node.kill()
