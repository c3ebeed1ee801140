"""Image models that are served: over real processes, when memory is short and when loads fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from pictures import jpeg
from skerry.config import LimitSettings, ModelSettings, Settings
from skerry.errors import MemoryLimitReached, ModelNotFound, ModelUnavailable
from skerry.metrics import Metrics
from skerry.models.folder import ModelFolder
from skerry.models.manifest import Task
from skerry.pipelines.budget import MemoryBudget
from skerry.pipelines.fetching import Fetcher
from skerry.pipelines.images.features import FeatureExtractor
from skerry.pipelines.images.loading import PROCESS_BYTES, ImageLoader
from skerry.pipelines.images.served import ServedModels
from skerry.pipelines.stages import Stages
from tiny_model import install_tiny

ROOM_FOR_ONE = int(1.5 * PROCESS_BYTES)


class Failing:
    """A loader whose loads fail."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def install(self, name: str) -> None:
        pass

    async def footprint_bytes(self, name: str, task: Task) -> int:
        if isinstance(self.error, ModelNotFound):
            raise self.error
        return 0

    async def load(self, name: str) -> FeatureExtractor:
        raise self.error


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    for name in ("main", "other"):
        install_tiny(tmp_path / name, name=name)
    return ModelFolder(tmp_path, known={})


@pytest.fixture
def budget(metrics: Metrics) -> MemoryBudget:
    return MemoryBudget(ROOM_FOR_ONE, metrics=metrics, patience_s=0.05)


@pytest.fixture
async def models(
    folder: ModelFolder, budget: MemoryBudget, metrics: Metrics
) -> AsyncIterator[ServedModels]:
    settings = Settings(
        models=ModelSettings(engine="openvino", precision="fp32", threads=1),
        limits=LimitSettings(max_pixels=1_000_000),
    )
    fetcher = Fetcher(folder, settings.models)
    loader = ImageLoader(fetcher, settings, cache=None, metrics=metrics)
    made = ServedModels(loader, default="main", budget=budget)
    await made.install()
    async with made.using("main"):
        pass
    yield made
    await made.close()


async def extract(extractor: FeatureExtractor) -> int:
    deadline = asyncio.get_running_loop().time() + 60
    found = await extractor.extract(jpeg(), deadline=deadline, stages=Stages())
    return len(found.features.embedding)


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def processes() -> int:
    """Image models' processes that live."""
    children = psutil.Process().children()
    return sum("skerry.inference.image_worker" in child.cmdline() for child in children)


def states(models: ServedModels) -> dict[str, str]:
    return {model.name: model.state for model in models.all()}


async def test_two_models_that_cannot_stand_together_take_turns(
    models: ServedModels, budget: MemoryBudget, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        async with models.using("other") as other:
            assert await extract(other) > 0
            assert processes() == 1
        assert states(models) == {"main": "installed", "other": "ready"}
        async with models.serving() as main:
            assert await extract(main) > 0
        assert states(models) == {"main": "ready", "other": "installed"}
        assert budget.taken_bytes <= ROOM_FOR_ONE
    assert "unloading 'main': to make room for 'other'" in caplog.text


async def test_one_in_use_is_not_unloaded_for_another(models: ServedModels) -> None:
    async with models.serving() as main:
        with pytest.raises(MemoryLimitReached, match="'other' needs"):
            async with models.using("other"):
                pass
        assert await extract(main) > 0
    # What did not fit is no failure of the model: with room it is loaded at once.
    async with models.using("other") as other:
        assert await extract(other) > 0


async def test_the_default_stays_loaded_when_nobody_uses_it_and_others_do_not(
    models: ServedModels, budget: MemoryBudget
) -> None:
    budget.limit_bytes = 3 * PROCESS_BYTES
    async with models.using("other"):
        pass
    unloading = asyncio.create_task(budget.unload_unused(keep_alive_s=0.05))

    async def other_is_unloaded() -> bool:
        return states(models)["other"] == "installed"

    await until(other_is_unloaded)
    unloading.cancel()
    assert states(models)["main"] == "ready"


@pytest.mark.parametrize("error", [ModelUnavailable("cut short"), ValueError("cut short")])
async def test_a_load_that_fails_is_told_with_its_reason(
    error: Exception, metrics: Metrics
) -> None:
    models = ServedModels(Failing(error), default="main", budget=MemoryBudget(metrics=metrics))
    with pytest.raises(ModelUnavailable, match="not ready: it is still loading"):
        async with models.serving():
            pass
    await models.install()
    with pytest.raises(ModelUnavailable, match="cut short"):
        async with models.using("main"):
            pass
    assert models.all()[0].state == "failed"
    assert "cut short" in models.all()[0].reason
    with pytest.raises(ModelUnavailable, match="cut short"):
        async with models.serving():
            pass


async def test_an_unknown_model_leaves_no_trace_in_the_status(metrics: Metrics) -> None:
    failing = Failing(ModelNotFound("no such model"))
    models = ServedModels(failing, default="main", budget=MemoryBudget(metrics=metrics))
    with pytest.raises(ModelNotFound):
        async with models.using("other"):
            pass
    assert [model.name for model in models.all()] == ["main"]
