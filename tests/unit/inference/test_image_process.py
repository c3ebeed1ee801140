"""An image model behind its process: features as in the node's own, deaths and restarts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from pictures import jpeg
from skerry.backends import backend_class
from skerry.config import ModelSettings
from skerry.errors import ConfigError, ImageUnreadable, ModelUnavailable
from skerry.inference.base import Extracted
from skerry.inference.features import Features
from skerry.inference.image_process import ImageProcess
from skerry.media.images import decode
from skerry.metrics import Metrics
from skerry.models.manifest import ImageModel
from tiny_model import install_tiny

SETTINGS = ModelSettings(engine="openvino", precision="fp32", threads=2)


@pytest.fixture
def model(tmp_path: Path) -> ImageModel:
    return install_tiny(tmp_path / "tiny")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def process(model: ImageModel, metrics: Metrics) -> AsyncIterator[ImageProcess]:
    made = await started(model, metrics)
    yield made
    await made.close()


async def started(
    model: ImageModel, metrics: Metrics, settings: ModelSettings = SETTINGS
) -> ImageProcess:
    return await ImageProcess.start(model, settings=settings, max_pixels=1_000_000, metrics=metrics)


async def features_of(process: ImageProcess, image: bytes) -> Features:
    outcome = (await process.run([image])).outcomes[0]
    assert isinstance(outcome, Extracted)
    return Features.unpack(outcome.packed)


async def test_it_gives_what_the_engine_gives_here(
    process: ImageProcess, model: ImageModel, metrics: Metrics
) -> None:
    engine = backend_class("inference", "openvino")(model, precision="fp32", threads=2)
    assert process.info == engine.info
    assert (process.streams, process.calls, process.max_batch) == (2, 3, engine.max_batch)
    images = [jpeg(seed=seed) for seed in range(12)]
    found = await asyncio.gather(*(features_of(process, image) for image in images))
    for image, features in zip(images, found, strict=True):
        expected = engine.run(decode(image, model.manifest.preprocess)[None]).embedding[0]
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(features.embedding, expected, atol=1e-5)
    labels = {"model": "tiny", "precision": "fp32"}
    assert metrics.registry.get_sample_value("skerry_model_load_seconds", labels)


async def test_an_error_of_an_image_arrives_as_what_it_is(process: ImageProcess) -> None:
    outcome = (await process.run([b"no image"])).outcomes[0]
    assert isinstance(outcome, ImageUnreadable)
    assert outcome.remedy


async def test_killed_it_fails_what_it_had_and_the_next_call_starts_it_again(
    process: ImageProcess, metrics: Metrics
) -> None:
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)  # so that the call is surely under way
    waiting = asyncio.create_task(process.run([jpeg()]))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ModelUnavailable, match="SIGKILL") as caught:
        await waiting
    assert caught.value.retry_after_s
    assert (await features_of(process, jpeg())).embedding.size == 16
    assert process.pid not in (None, first)
    restarts = metrics.registry.get_sample_value
    assert restarts("skerry_worker_restarts_total", {"worker": "images"}) == 1


async def test_what_cannot_be_loaded_is_said_as_in_the_node(
    model: ImageModel, metrics: Metrics
) -> None:
    with pytest.raises(ConfigError, match="bf16") as caught:
        await started(model, metrics, ModelSettings(engine="onnx", precision="bf16"))
    assert caught.value.remedy


async def test_a_model_that_changed_on_disk_is_refused_at_the_restart(
    process: ImageProcess, model: ImageModel
) -> None:
    install_tiny(model.folder, seed=7)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ModelUnavailable, match=r"SIGKILL|changed on disk"):
        await process.run([jpeg()])
    with pytest.raises(ModelUnavailable, match="changed on disk"):
        await process.run([jpeg()])


async def test_closed_it_refuses_calls(model: ImageModel, metrics: Metrics) -> None:
    process = await started(model, metrics)
    await process.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        await process.run([jpeg()])
