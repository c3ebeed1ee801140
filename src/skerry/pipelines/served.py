"""The models this node serves: loaded once, on start or on first use."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from skerry.errors import ModelUnavailable, SkerryError
from skerry.pipelines.features import FeatureExtractor

log = logging.getLogger(__name__)


class Loader(Protocol):
    """Loads a model by name; `pull` fetches it first when it is not installed."""

    def __call__(self, name: str, *, pull: bool) -> Awaitable[FeatureExtractor]:
        """The extractor; raises what loading raises."""


@dataclass(slots=True)
class ServedModel:
    """A model's state as /api/status tells it."""

    name: str
    state: str = "starting"
    reason: str = ""
    load_ms: float = 0.0
    extractor: FeatureExtractor | None = None


class ServedModels:
    """Extractors by model name; the default is the one whose space the index holds."""

    def __init__(self, load: Loader, *, default: str) -> None:
        self.default = default
        self._load = load
        self._models: dict[str, ServedModel] = {}
        self._loading: dict[str, asyncio.Task[FeatureExtractor]] = {}

    def all(self) -> list[ServedModel]:
        """Every model that was asked for since the start, the default first."""
        default = self._models.get(self.default, ServedModel(self.default))
        return [default, *(m for m in self._models.values() if m.name != self.default)]

    async def get(self, name: str | None = None) -> FeatureExtractor:
        """The model's extractor; loads it when nobody has yet.

        Raises ModelNotFound, ModelUnavailable with the reason why it cannot be loaded.
        """
        name = name or self.default
        served = self._models.get(name)
        if served is not None and served.extractor is not None:
            return served.extractor
        task = self._loading.get(name)
        if task is None:
            task = self._loading[name] = asyncio.create_task(self._open(name))
            task.add_done_callback(lambda done: self._loaded(name, done))
        return await asyncio.shield(task)

    def ready(self) -> FeatureExtractor:
        """The default model, at once; ModelUnavailable while it loads or when it failed."""
        served = self._models.get(self.default)
        if served is None or served.extractor is None:
            reason = served.reason if served and served.reason else "it is still loading"
            raise ModelUnavailable(
                f"The model '{self.default}' is not ready: {reason}", retry_after_s=2.0
            )
        return served.extractor

    async def close(self) -> None:
        """Stop loading, finish what runs, free the engines."""
        for task in self._loading.values():
            task.cancel()
        for served in self._models.values():
            if served.extractor is not None:
                await served.extractor.close()

    async def _open(self, name: str) -> FeatureExtractor:
        served = ServedModel(name)
        began = time.perf_counter()
        try:
            served.extractor = await self._load(name, pull=name == self.default)
        except SkerryError as error:
            if name == self.default or error.status != 404:
                served.state, served.reason = "failed", error.message
                self._models[name] = served
            raise
        except Exception as error:  # a bug, or a library's: said, or it would "start" for ever
            log.exception("Loading the model '%s' failed", name)
            served.state, served.reason = "failed", f"{type(error).__name__}: {error}"
            self._models[name] = served
            raise ModelUnavailable(f"The model '{name}' failed: {served.reason}") from error
        served.state, served.load_ms = "ready", round(1e3 * (time.perf_counter() - began), 1)
        self._models[name] = served
        return served.extractor

    def _loaded(self, name: str, task: asyncio.Task[FeatureExtractor]) -> None:
        del self._loading[name]
        if not task.cancelled():
            task.exception()  # Seen here, in case every caller has gone.
