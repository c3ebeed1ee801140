"""Models in memory: each loaded once, on use; in use inside its lease; unloaded when idle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

from skerry.errors import MemoryLimitReached, ModelUnavailable, SkerryError, WrongTask
from skerry.generation.base import GeneratorInfo
from skerry.inference.base import EngineInfo
from skerry.models.manifest import Task
from skerry.pipelines.budget import Idle, MemoryBudget

log = logging.getLogger(__name__)

RETRY_S = 5.0

State = Literal["waiting", "pulling", "installed", "loading", "ready", "failed"]


class Served(Protocol):
    """What is loaded."""

    @property
    def info(self) -> EngineInfo | GeneratorInfo:
        """What runs."""

    async def close(self) -> None:
        """Finish what was admitted, free the model."""


S = TypeVar("S", bound=Served)
S_co = TypeVar("S_co", bound=Served, covariant=True)


class Loader(Protocol[S_co]):
    """Brings a model to this machine and into memory."""

    async def install(self, name: str) -> None:
        """Pull a model of the catalogue when it is absent; raises what pulling raises."""

    async def footprint_bytes(self, name: str, task: Task) -> int:
        """Memory it will take, estimated, once every byte of its files was checked.

        Raises ModelNotFound, ModelUnavailable, and WrongTask when it is for something else.
        """

    async def load(self, name: str) -> S_co:
        """Load what `footprint_bytes` has checked; raises what loading raises."""


@dataclass(slots=True)
class HeldModel(Generic[S]):
    """A model's state as /api/status tells it."""

    name: str
    state: State = "installed"
    task: Task | None = None
    """Of an expected one; of others known once they were loaded."""
    reason: str = ""
    load_ms: float = 0.0
    footprint_bytes: int = 0
    served: S | None = None
    users: int = 0
    last_used: float = 0.0
    not_before: float = 0.0
    """After it failed: when loading is tried again (`time.monotonic()`)."""


class HeldModels(Generic[S]):
    """Models by name. One is in use inside the `async with` that gave it, and only there."""

    def __init__(
        self,
        loader: Loader[S],
        *,
        budget: MemoryBudget,
        spares: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._loader = loader
        self._budget = budget
        self._spares = spares
        self._models: dict[str, HeldModel[S]] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        budget.watch(self)

    def all(self) -> list[HeldModel[S]]:
        """Every model that is expected or was loaded."""
        return list(self._models.values())

    def get(self, name: str) -> HeldModel[S] | None:
        """The state of a model that is expected or was loaded."""
        return self._models.get(name)

    def expect(self, name: str, task: Task) -> HeldModel[S]:
        """A model that will be installed; until then whoever asks for it is told to wait."""
        return self._models.setdefault(name, HeldModel(name, "waiting", task))

    async def install(self, name: str) -> None:
        """Bring an expected model to this machine; raises what pulling raises."""
        model = self._models[name]
        if model.served is not None:
            return
        model.state = "pulling"
        try:
            await self._loader.install(name)
        except Exception as error:  # kept as the model's state
            self._failed(model, error)
            raise
        model.state, model.reason = "installed", ""

    @asynccontextmanager
    async def lease(self, name: str, task: Task) -> AsyncIterator[S]:
        """The model, loaded on first use, and not unloaded before the end of the block.

        Raises ModelNotFound, WrongTask, ModelUnavailable (it is still being pulled, or why it
        cannot be loaded), MemoryLimitReached.
        """
        model, served = await self._ready(name, task)
        model.users += 1
        try:
            yield served
        finally:
            model.users -= 1
            model.last_used = time.monotonic()

    def idle(self) -> list[Idle]:
        """Loaded models that nobody uses."""
        return [
            Idle(model.name, model.last_used, self._spares(model.name), partial(self._free, model))
            for model in self._models.values()
            if model.served is not None and not model.users
        ]

    async def close(self) -> None:
        """Stop loading, finish what runs, free every model."""
        loading = list(self._loading.values())
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        for model in self._models.values():
            await self._unload(model)

    async def _ready(self, name: str, task: Task) -> tuple[HeldModel[S], S]:
        """The model, loaded; nothing is awaited between its return and its being counted used."""
        while True:
            model = self._models.get(name)
            if model is not None:
                _check_task(model, task)
                if model.served is not None:
                    return model, model.served
                _check_can_load(model)
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
        try:
            await self._bring_in(name, task)
        except MemoryLimitReached:  # nothing is wrong with the model
            raise
        except Exception as error:  # kept as the state of a model that is known
            if (model := self._models.get(name)) is not None:
                self._failed(model, error)
                model.not_before = time.monotonic() + RETRY_S
            if isinstance(error, SkerryError):
                raise
            raise ModelUnavailable(f"The model '{name}' failed: {error!r}") from error

    async def _bring_in(self, name: str, task: Task) -> None:
        began = time.perf_counter()
        wanted_bytes = await self._loader.footprint_bytes(name, task)
        await self._budget.take(name, wanted_bytes)
        model = self._models.setdefault(name, HeldModel(name))
        model.state, model.reason, model.footprint_bytes = "loading", "", wanted_bytes
        try:
            model.served = await self._loader.load(name)
        except BaseException:
            self._budget.give_back(name)
            raise
        model.task, model.state, model.last_used = task, "ready", time.monotonic()
        model.load_ms = round(1e3 * (time.perf_counter() - began), 1)
        log.info("loaded '%s' in %.0f ms", name, model.load_ms)

    async def _free(self, model: HeldModel[S]) -> None:
        if not model.users:
            await self._unload(model)

    async def _unload(self, model: HeldModel[S]) -> None:
        served, model.served = model.served, None
        if served is None:
            return
        model.state = "installed"
        try:
            await served.close()
        finally:
            self._budget.give_back(model.name)

    def _failed(self, model: HeldModel[S], error: Exception) -> None:
        known = isinstance(error, SkerryError)
        model.reason = error.message if isinstance(error, SkerryError) else repr(error)
        model.state = "failed"
        log.error("'%s' cannot be served: %s", model.name, model.reason, exc_info=not known)


def _check_task(model: HeldModel[S], task: Task) -> None:
    if model.task is not None and model.task != task:
        raise WrongTask(
            f"'{model.name}' is a model for {model.task}, not for {task}.",
            remedy="See GET /v1/models for what each model does.",
        )


def _check_can_load(model: HeldModel[S]) -> None:
    if model.state in ("waiting", "pulling"):
        raise ModelUnavailable(
            f"The model '{model.name}' is still being brought to this machine.",
            remedy="See /api/status for how far it is.",
            retry_after_s=RETRY_S,
        )
    if time.monotonic() < model.not_before:
        raise ModelUnavailable(
            f"The model '{model.name}' cannot be served: {model.reason}", retry_after_s=RETRY_S
        )
