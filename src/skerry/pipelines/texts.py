"""The text models this node serves: pulled in the background, loaded on use, unloaded when idle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from skerry.errors import ModelNotFound, ModelUnavailable, SkerryError, WrongTask
from skerry.generation.base import GeneratorInfo
from skerry.inference.base import EngineInfo
from skerry.models.manifest import Task
from skerry.pipelines.budget import MemoryBudget

if TYPE_CHECKING:
    from skerry.generation.slots import Slots
    from skerry.pipelines.classify import TextClassifier
    from skerry.pipelines.embed import Embedder

log = logging.getLogger(__name__)

OFF = "off"
RETRY_S = 5.0
MIN_CHECK_S, MAX_CHECK_S = 0.05, 30.0
MIN_PAUSE_S, MAX_PAUSE_S = 60.0, 3600.0

State = Literal["waiting", "pulling", "installed", "loading", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class Defaults:
    """The model of each task that a caller gets who names none; `off`: none."""

    embedding: str
    classifier: str
    chat: str

    def by_task(self) -> dict[Task, str]:
        """The default of each task, the smallest first."""
        return {
            "text-embedding": self.embedding,
            "text-classification": self.classifier,
            "text-generation": self.chat,
        }

    def names(self) -> list[str]:
        """Those that are not off."""
        return [name for name in self.by_task().values() if name != OFF]


class Served(Protocol):
    """What is loaded: an Embedder, a TextClassifier, or the Slots of a language model."""

    @property
    def info(self) -> EngineInfo | GeneratorInfo:
        """What runs."""

    async def close(self) -> None:
        """Finish what was admitted, free the model."""


class TextLoader(Protocol):
    """Brings a model to this machine and into memory."""

    async def install(self, name: str) -> None:
        """Pull a model of the catalogue when it is absent; raises what pulling raises."""

    async def footprint_bytes(self, name: str, task: Task) -> int:
        """Memory it will take, estimated, once every byte of its files was checked.

        Raises ModelNotFound, ModelUnavailable, and WrongTask when it is for something else.
        """

    async def load(self, name: str) -> Served:
        """Load what `footprint_bytes` has checked; raises what loading raises."""


@dataclass(slots=True)
class TextModel:
    """A model's state as /api/status tells it."""

    name: str
    state: State = "installed"
    task: Task | None = None
    """Of a default as configured; of others known once they were loaded."""
    reason: str = ""
    load_ms: float = 0.0
    footprint_bytes: int = 0
    served: Served | None = None
    users: int = 0
    last_used: float = 0.0
    not_before: float = 0.0
    """After it failed: when loading is tried again (`time.monotonic()`)."""


class TextModels:
    """Text models by name. One is in use inside the `async with` that gave it, and only there."""

    def __init__(
        self, loader: TextLoader, *, defaults: Defaults, budget: MemoryBudget, keep_alive_s: float
    ) -> None:
        self.defaults = defaults
        self._loader = loader
        self._budget = budget
        self._keep_alive_s = keep_alive_s
        self._models = {
            name: TextModel(name, "waiting", task=task)
            for task, name in defaults.by_task().items()
            if name != OFF
        }
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def all(self) -> list[TextModel]:
        """The defaults and every other model that was asked for, with their states."""
        return list(self._models.values())

    def embedder(self, name: str | None = None) -> AbstractAsyncContextManager[Embedder]:
        """A text-embedding model, loaded on first use.

        This and its like raise ModelNotFound, WrongTask, ModelUnavailable (it is still being
        pulled, or why it cannot be loaded), MemoryLimitReached.
        """
        return self._lease(name, "text-embedding")

    def classifier(self, name: str | None = None) -> AbstractAsyncContextManager[TextClassifier]:
        """A text classifier."""
        return self._lease(name, "text-classification")

    def generator(self, name: str | None = None) -> AbstractAsyncContextManager[Slots]:
        """A language model behind its slots."""
        return self._lease(name, "text-generation")

    def start(self) -> None:
        """Bring the defaults to this machine, one after another, and begin to unload idle ones."""
        self._tasks.append(asyncio.create_task(self._install_defaults()))
        if self._keep_alive_s > 0:
            self._tasks.append(asyncio.create_task(self._unload_idle()))

    async def close(self) -> None:
        """Stop pulling and loading, finish what runs, free every model."""
        running = [*self._tasks, *self._loading.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for model in self._models.values():
            await self._unload(model)

    async def unload_longest_idle(self) -> bool:
        """Free the model nobody used for longest; False when all are in use."""
        idle = [m for m in self._models.values() if m.served is not None and m.users == 0]
        if not idle:
            return False
        await self._unload(min(idle, key=lambda model: model.last_used))
        return True

    @asynccontextmanager
    async def _lease(self, name: str | None, task: Task) -> AsyncIterator[Any]:
        name = name or self._default(task)
        model = await self._ready(name, task)
        if model.task != task:
            raise WrongTask(
                f"'{name}' is a model for {model.task}, not for {task}.",
                remedy="See GET /v1/models for what each model does.",
            )
        model.users += 1
        try:
            yield model.served
        finally:
            model.users -= 1
            model.last_used = time.monotonic()

    def _default(self, task: Task) -> str:
        name = self.defaults.by_task()[task]
        if name == OFF:
            raise ModelNotFound(
                f"This node runs no model for {task} by default.",
                remedy="Name a model, or set one in the [models] table of skerry.toml.",
            )
        return name

    async def _ready(self, name: str, task: Task) -> TextModel:
        """The model, loaded; nothing is awaited between its return and its being counted used."""
        while True:
            model = self._models.get(name)
            if model is not None and model.served is not None:
                return model
            if model is not None and model.state in ("waiting", "pulling"):
                raise ModelUnavailable(
                    f"The model '{name}' is still being brought to this machine.",
                    remedy="See /api/status for how far it is.",
                    retry_after_s=RETRY_S,
                )
            if model is not None and time.monotonic() < model.not_before:
                raise ModelUnavailable(
                    f"The model '{name}' cannot be served: {model.reason}", retry_after_s=RETRY_S
                )
            await asyncio.shield(self._load(name, task))

    def _load(self, name: str, task: Task) -> asyncio.Task[None]:
        loading = self._loading.get(name)
        if loading is None:
            loading = self._loading[name] = asyncio.create_task(self._open(name, task))
            loading.add_done_callback(lambda done: self._loaded(name, done))
        return loading

    def _loaded(self, name: str, task: asyncio.Task[None]) -> None:
        del self._loading[name]
        if not task.cancelled():
            task.exception()  # Seen here, in case every caller has gone.

    async def _open(self, name: str, task: Task) -> None:
        began = time.perf_counter()
        wanted_bytes = await self._loader.footprint_bytes(name, task)
        await self._budget.take(name, wanted_bytes)
        model = self._models.setdefault(name, TextModel(name))
        model.state, model.reason, model.footprint_bytes = "loading", "", wanted_bytes
        try:
            model.served = await self._loader.load(name)
        except BaseException as error:
            self._budget.give_back(name)
            self._failed(model, error)
            model.not_before = time.monotonic() + RETRY_S
            raise
        model.task, model.state, model.last_used = task, "ready", time.monotonic()
        model.load_ms = round(1e3 * (time.perf_counter() - began), 1)
        log.info("loaded '%s' in %.0f ms", name, model.load_ms)

    async def _unload(self, model: TextModel) -> None:
        served, model.served = model.served, None
        if served is None:
            return
        model.state = "installed"
        log.info("unloading '%s'", model.name)
        await served.close()
        self._budget.give_back(model.name)

    async def _install_defaults(self) -> None:
        """Until all are here: an unplugged node tries again, ever less often."""
        missing, pause_s = self.defaults.names(), MIN_PAUSE_S
        while missing := [name for name in missing if not await self._install(name)]:
            log.info("%s: tried again in %.0f s", ", ".join(missing), pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _install(self, name: str) -> bool:
        model = self._models[name]
        model.state = "pulling"
        try:
            await self._loader.install(name)
        except Exception as error:  # one that cannot be had does not keep the others back
            self._failed(model, error)
            return False
        model.state, model.reason = "installed", ""
        return True

    def _failed(self, model: TextModel, error: BaseException) -> None:
        known = isinstance(error, SkerryError)
        model.reason = error.message if isinstance(error, SkerryError) else repr(error)
        model.state = "failed"
        log.error("'%s' cannot be served: %s", model.name, model.reason, exc_info=not known)

    async def _unload_idle(self) -> None:
        every_s = min(MAX_CHECK_S, max(MIN_CHECK_S, self._keep_alive_s / 4))
        while True:
            await asyncio.sleep(every_s)
            before = time.monotonic() - self._keep_alive_s
            for model in list(self._models.values()):
                if model.served is not None and model.users == 0 and model.last_used < before:
                    await self._unload(model)
