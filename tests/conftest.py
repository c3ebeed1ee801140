"""Fixtures every test may use: the default model, and a real node in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fast_model import ENVIRON, install_fast_model
from running_node import (
    NO_TEXT_MODELS,
    RunningNode,
    pulled_models,
    start_node,
    wait_for_texts,
)

TEXT_MODELS = ("all-minilm-l6-v2", "minilm-sentiment", "smollm2-135m-instruct")
# What a shell starts in the background ignores Ctrl-C, and hands that on to what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def models() -> Path:
    """A models folder with the default model; skips aloud when it cannot be pulled."""
    folder = pulled_models()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SKERRY_")}
    command = [sys.executable, "-m", "skerry", "models", "pull", "efficientnet-lite2"]
    done = subprocess.run(
        command, env={**clean, "SKERRY_MODELS": str(folder)}, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"The default model cannot be pulled here: {done.stderr.strip()}")
    return folder


@pytest.fixture
def new_node(models: Path, tmp_path: Path) -> Iterator[Callable[..., RunningNode]]:
    """Starts nodes of this test's own; they end with it."""
    started: list[RunningNode] = []

    def start(name: str = "data", **kwargs: object) -> RunningNode:
        node = start_node(tmp_path / name, models=models, **kwargs)  # type: ignore[arg-type]
        started.append(node)
        return node

    yield start
    for node in started:
        node.kill()


@pytest.fixture(scope="session")
def node(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One open node for all tests that don't mind each other's images."""
    running = start_node(tmp_path_factory.mktemp("node") / "data", models=models)
    yield running
    running.kill()


@pytest.fixture(scope="session")
def text_models(models: Path) -> Path:
    """The models folder with the default text models too; skips aloud when they cannot be had."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SKERRY_")}
    command = [sys.executable, "-m", "skerry", "models", "pull", *TEXT_MODELS]
    done = subprocess.run(
        command, env={**clean, "SKERRY_MODELS": str(models)}, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"The text models cannot be pulled here: {done.stderr.strip()}")
    return models


@pytest.fixture(scope="session")
def text_node(text_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One open node with the default text models, for all tests of text."""
    data = tmp_path_factory.mktemp("text-node") / "data"
    running = start_node(data, models=text_models, environ=dict.fromkeys(NO_TEXT_MODELS, ""))
    wait_for_texts(running)
    yield running
    running.kill()


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
