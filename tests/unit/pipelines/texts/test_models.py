"""Text models: pulled behind the node's start, loaded once on use, unloaded when idle."""

import asyncio
from dataclasses import dataclass

import pytest

from skerry.errors import (
    MemoryLimitReached,
    ModelNotFound,
    ModelUnavailable,
    SourceUnreachable,
    TaskOff,
    WrongTask,
)
from skerry.metrics import Metrics
from skerry.pipelines.budget import MemoryBudget
from skerry.pipelines.texts.models import Defaults, TextModels

MIB = 1 << 20
TASKS = {"embed": "text-embedding", "judge": "text-classification", "chat": "text-generation"}


@dataclass
class Loaded:
    name: str
    info: object = None
    closed: bool = False

    async def close(self):
        self.closed = True


class Models:
    """Where models come from; every step can be held or made to fail."""

    def __init__(self):
        self.loads, self.installs, self.failing = [], [], {}
        self.may_install, self.may_load = asyncio.Event(), asyncio.Event()
        self.may_install.set()
        self.may_load.set()

    async def install(self, name):
        self.installs.append(name)
        await self.may_install.wait()
        if name in self.failing:
            raise self.failing[name]

    async def footprint_bytes(self, name, task):
        if name not in TASKS:
            raise ModelNotFound(f"No model '{name}' is installed.")
        if TASKS[name] != task:
            raise WrongTask(f"'{name}' is for {TASKS[name]}.")
        return 40 * MIB

    async def load(self, name):
        self.loads.append(name)
        await self.may_load.wait()
        if name in self.failing:
            raise self.failing[name]
        return Loaded(name)


def texts_of(models, *, budget=None, embed="embed", chat="chat"):
    budget = budget or MemoryBudget(100 * MIB, metrics=Metrics(), patience_s=0.05)
    return TextModels(models, defaults=Defaults(embed, "judge", chat), budget=budget)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def states(texts):
    return {model.name: model.state for model in texts.all()}


@pytest.fixture
def models():
    return Models()


@pytest.fixture
async def texts(models):
    texts = texts_of(models)
    texts.start()
    await until(lambda: set(states(texts).values()) == {"installed"})
    yield texts
    await texts.close()


async def test_before_a_default_is_there_it_says_that_it_is_coming(models):
    models.may_install.clear()
    texts = texts_of(models)
    texts.start()
    await until(lambda: models.installs == ["embed"])
    assert states(texts) == {"embed": "pulling", "judge": "waiting", "chat": "waiting"}
    for lease in (texts.embedder(), texts.generator()):
        with pytest.raises(ModelUnavailable, match="still being brought"):
            async with lease:
                pass
    models.may_install.set()
    async with asyncio.timeout(10):
        await until(lambda: states(texts)["chat"] == "installed")
    await texts.close()


async def test_one_that_cannot_be_had_keeps_no_other_back(models):
    models.failing["embed"] = SourceUnreachable("The index is not reachable.")
    texts = texts_of(models)
    texts.start()
    await until(lambda: states(texts)["chat"] == "installed")
    failed = texts.all()[0]
    assert (failed.state, failed.reason) == ("failed", "The index is not reachable.")
    async with texts.classifier() as classifier:
        assert classifier.name == "judge"
    await texts.close()


async def test_many_callers_at_once_load_a_model_once(models, texts):
    models.may_load.clear()

    async def use():
        async with texts.embedder() as embedder:
            return embedder

    callers = [asyncio.create_task(use()) for _ in range(10)]
    await until(lambda: models.loads == ["embed"])
    models.may_load.set()
    assert len({id(used) for used in await asyncio.gather(*callers)}) == 1
    assert models.loads == ["embed"]


async def test_a_caller_that_goes_away_does_not_stop_the_load(models, texts):
    models.may_load.clear()
    gone = asyncio.create_task(texts.embedder().__aenter__())
    await until(lambda: models.loads == ["embed"])
    gone.cancel()
    models.may_load.set()
    await until(lambda: states(texts)["embed"] == "ready")


async def test_a_model_in_use_is_never_unloaded_to_make_room(models, texts):
    async with texts.embedder() as embedder, texts.classifier() as classifier:
        with pytest.raises(MemoryLimitReached):
            async with texts.generator():
                pass
        assert not embedder.closed
        assert not classifier.closed
    async with texts.generator():
        # The one left first was idle longest, and made room.
        assert (classifier.closed, embedder.closed) == (True, False)


async def test_a_model_for_something_else_is_refused_by_name(texts):
    for name in ("chat", "judge"):
        with pytest.raises(WrongTask, match=name):
            async with texts.embedder(name):
                pass
    async with texts.generator("chat"):
        pass
    with pytest.raises(WrongTask, match="chat"):
        async with texts.classifier("chat"):
            pass


async def test_a_model_that_is_not_there_is_not_found_and_leaves_no_trace(models, texts):
    for name in ("nobody", "off"):
        with pytest.raises(ModelNotFound, match=name):
            async with texts.embedder(name):
                pass
    assert set(states(texts)) == {"embed", "judge", "chat"}


async def test_a_task_that_is_off_is_told_apart_from_a_model_that_is_not_there(models):
    texts = texts_of(models, embed="off", chat="off")
    with pytest.raises(TaskOff, match=r'no language model: models.chat is "off"'):
        async with texts.generator():
            pass
    # Documents hand on the name that the settings give.
    for name in (None, "off"):
        with pytest.raises(TaskOff, match=r'no embedding model: models.embedding is "off"'):
            async with texts.embedder(name):
                pass
    async with texts.generator("chat") as chat:
        assert chat.name == "chat"
    await texts.close()


async def test_a_model_that_failed_to_load_gives_its_memory_back_and_says_why(models, texts):
    models.failing["embed"] = ModelUnavailable("The file is cut short.")
    with pytest.raises(ModelUnavailable, match="cut short"):
        async with texts.embedder():
            pass
    # At once again it is not read anew, but the reason is known.
    with pytest.raises(ModelUnavailable, match="cannot be served: The file is cut short"):
        async with texts.embedder():
            pass
    assert models.loads == ["embed"]
    async with texts.classifier(), texts.generator():
        pass


async def test_an_idle_model_is_unloaded_and_loaded_again_on_use(models):
    budget = MemoryBudget(100 * MIB, metrics=Metrics())
    texts = texts_of(models, budget=budget)
    unloading = asyncio.create_task(budget.unload_unused(keep_alive_s=0.1))
    texts.start()
    await until(lambda: set(states(texts).values()) == {"installed"})
    async with texts.embedder() as embedder:
        await asyncio.sleep(0.3)
        assert not embedder.closed
    await until(lambda: embedder.closed)
    async with texts.embedder() as again:
        assert again is not embedder
    assert models.loads == ["embed", "embed"]
    unloading.cancel()
    await texts.close()
    assert again.closed
