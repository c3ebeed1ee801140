"""From bytes to packed features, over real engines and a tiny model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pictures import jpeg, png, png_bomb
from skerry.backends import backend_class
from skerry.errors import ImageUnreadable, PayloadTooLarge
from skerry.inference.base import Engine, EngineOutput, Extracted, Float32
from skerry.inference.extraction import Extraction
from skerry.inference.features import Features
from skerry.media.images import decode
from skerry.models.manifest import ImageModel
from tiny_model import install_tiny

MAX_PIXELS = 1_000_000


@pytest.fixture
def model(tmp_path: Path) -> ImageModel:
    return install_tiny(tmp_path / "tiny")


@pytest.fixture(params=["openvino", "onnx"])
def engine(request: pytest.FixtureRequest, model: ImageModel) -> Engine:
    made: Engine = backend_class("inference", request.param)(model, precision="fp32", threads=2)
    return made


def extraction_of(model: ImageModel, engine: Engine) -> Extraction:
    return Extraction(engine, model.manifest.preprocess, max_pixels=MAX_PIXELS)


def embedding(outcome: object) -> Float32:
    assert isinstance(outcome, Extracted)
    return Features.unpack(outcome.packed).embedding


def test_each_call_gets_the_features_of_its_own_image(model: ImageModel, engine: Engine) -> None:
    extraction = extraction_of(model, engine)
    images = [jpeg(seed=seed) for seed in range(24)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda image: extraction.run([image]), images))
    for image, answer in zip(images, answers, strict=True):
        expected = engine.run(decode(image, model.manifest.preprocess)[None]).embedding[0]
        np.testing.assert_allclose(
            embedding(answer.outcomes[0]), expected / np.linalg.norm(expected), atol=1e-5
        )
        assert answer.inference_s > 0
    extraction.close()


def test_a_batch_gives_each_image_what_it_gets_alone(model: ImageModel) -> None:
    engine: Engine = backend_class("inference", "onnx")(model, precision="fp32", threads=1)
    engine.max_batch = 8
    extraction = extraction_of(model, engine)
    images = [jpeg(seed=1), b"no image", png(seed=2), png_bomb()]
    outcomes = extraction.run(images).outcomes
    assert isinstance(outcomes[1], ImageUnreadable)
    assert isinstance(outcomes[3], PayloadTooLarge)
    for at in (0, 2):
        alone = extraction.run([images[at]]).outcomes[0]
        np.testing.assert_allclose(embedding(outcomes[at]), embedding(alone), atol=1e-5)
    extraction.close()


def test_images_without_pixels_never_reach_the_engine(model: ImageModel, engine: Engine) -> None:
    calls: list[int] = []
    engine.run = counting(engine.run, calls)  # type: ignore[method-assign]
    answer = extraction_of(model, engine).run([b"no image"])
    assert isinstance(answer.outcomes[0], ImageUnreadable)
    assert (answer.inference_s, calls) == (0.0, [])


def counting(
    run: Callable[[Float32], EngineOutput], calls: list[int]
) -> Callable[[Float32], EngineOutput]:
    def counted(batch: Float32) -> EngineOutput:
        calls.append(len(batch))
        return run(batch)

    return counted
