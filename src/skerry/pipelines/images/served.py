"""The image models this node serves: the default loaded at the start, others on use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

from skerry.errors import ModelUnavailable
from skerry.models.manifest import Task
from skerry.pipelines.budget import MemoryBudget
from skerry.pipelines.held import HeldModel, HeldModels, Loader
from skerry.pipelines.images.features import FeatureExtractor

TASK: Task = "image-classification"
RETRY_S = 2.0

ServedModel: TypeAlias = HeldModel[FeatureExtractor]


class ServedModels:
    """Extractors by model name; the default is the one whose space the index holds.

    It stays loaded while nobody uses it, so that a day's first photo does not wait, unless its
    memory is needed and nothing else is idle. One is in use inside the `async with` that gave it.
    """

    def __init__(
        self, loader: Loader[FeatureExtractor], *, default: str, budget: MemoryBudget
    ) -> None:
        self.default = default
        self._held = HeldModels(loader, budget=budget, spares=lambda name: name == self.default)
        self._held.expect(default, TASK)

    def all(self) -> list[ServedModel]:
        """Every model that was asked for since the start, the default first."""
        return sorted(self._held.all(), key=lambda model: model.name != self.default)

    async def install(self) -> None:
        """Bring the default to this machine; raises what pulling raises."""
        await self._held.install(self.default)

    def using(self, name: str) -> AbstractAsyncContextManager[FeatureExtractor]:
        """A model's extractor, loaded when it is not.

        Raises ModelNotFound, WrongTask, MemoryLimitReached, and ModelUnavailable with the reason
        why it cannot be loaded.
        """
        return self._held.lease(name, TASK)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FeatureExtractor]:
        """The default's extractor; ModelUnavailable while it first loads, as that may take long."""
        model = self._held.get(self.default)
        if model is None or not model.load_ms:
            reason = (model and model.reason) or "it is still loading"
            raise ModelUnavailable(
                f"The model '{self.default}' is not ready: {reason}", retry_after_s=RETRY_S
            )
        async with self._held.lease(self.default, TASK) as extractor:
            yield extractor

    async def close(self) -> None:
        """Stop loading, finish what runs, free the engines."""
        await self._held.close()
