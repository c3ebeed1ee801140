"""The text models this node serves: pulled in the background, loaded on use, unloaded when idle."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skerry.errors import TaskOff
from skerry.models.manifest import Task
from skerry.pipelines.budget import MemoryBudget
from skerry.pipelines.held import HeldModel, HeldModels, Loader, Served

if TYPE_CHECKING:
    from skerry.generation.slots import Slots
    from skerry.pipelines.texts.classify import TextClassifier
    from skerry.pipelines.texts.embed import Embedder

log = logging.getLogger(__name__)

OFF = "off"
MIN_PAUSE_S, MAX_PAUSE_S = 60.0, 3600.0

SETTINGS: dict[Task, tuple[str, str]] = {
    "text-embedding": ("embedding model", "embedding"),
    "text-classification": ("text classifier", "classifier"),
    "text-generation": ("language model", "chat"),
}
"""What the default of each task is called, and the setting that names it."""
WITHOUT_EMBEDDING = " Searching documents with the mode 'keyword' needs none."

TextModel = HeldModel[Any]
TextLoader = Loader[Served]
"""Loads an Embedder, a TextClassifier, or the Slots of a language model."""


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


class TextModels:
    """Text models by name. One is in use inside the `async with` that gave it, and only there."""

    def __init__(self, loader: TextLoader, *, defaults: Defaults, budget: MemoryBudget) -> None:
        self.defaults = defaults
        self._held: HeldModels[Any] = HeldModels(loader, budget=budget)
        for task, name in defaults.by_task().items():
            if name != OFF:
                self._held.expect(name, task)
        self._installing: asyncio.Task[None] | None = None

    def all(self) -> list[TextModel]:
        """The defaults and every other model that was asked for, with their states."""
        return self._held.all()

    def embedder(self, name: str | None = None) -> AbstractAsyncContextManager[Embedder]:
        """A text-embedding model, loaded on first use.

        This and its like raise ModelNotFound, WrongTask, TaskOff, ModelUnavailable (it is still
        being pulled, or why it cannot be loaded), MemoryLimitReached.
        """
        return self._lease(name, "text-embedding")

    def classifier(self, name: str | None = None) -> AbstractAsyncContextManager[TextClassifier]:
        """A text classifier."""
        return self._lease(name, "text-classification")

    def generator(self, name: str | None = None) -> AbstractAsyncContextManager[Slots]:
        """A language model behind its slots."""
        return self._lease(name, "text-generation")

    def start(self) -> None:
        """Bring the defaults to this machine, one after another."""
        self._installing = asyncio.create_task(self._install_defaults())

    async def close(self) -> None:
        """Stop pulling and loading, finish what runs, free every model."""
        if self._installing is not None:
            self._installing.cancel()
            await asyncio.gather(self._installing, return_exceptions=True)
        await self._held.close()

    def _lease(self, name: str | None, task: Task) -> AbstractAsyncContextManager[Any]:
        default = self.defaults.by_task()[task]
        # What follows the settings, as documents do, may name the default that is off.
        if default == OFF and name in (None, OFF):
            raise _off(task)
        return self._held.lease(name or default, task)

    async def _install_defaults(self) -> None:
        """Until all are here: an unplugged node tries again, ever less often."""
        missing, pause_s = self.defaults.names(), MIN_PAUSE_S
        while missing := [name for name in missing if not await self._install(name)]:
            log.info("%s: tried again in %.0f s", ", ".join(missing), pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _install(self, name: str) -> bool:
        try:
            await self._held.install(name)
        except Exception:  # said by then; one that cannot be had does not keep the others back
            return False
        return True


def _off(task: Task) -> TaskOff:
    what, setting = SETTINGS[task]
    remedy = (
        f"Set models.{setting} in skerry.toml and start the node again, or name a model where the "
        "request can."
    )
    if task == "text-embedding":
        remedy += WITHOUT_EMBEDDING
    return TaskOff(f'This node has no {what}: models.{setting} is "off".', remedy=remedy)
