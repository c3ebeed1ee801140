"""What every part of a node stands on: settings, stores, and the means to compute."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from skerry.backends import open_backend
from skerry.config import Settings
from skerry.index.base import Feed
from skerry.index.view import Index
from skerry.inference.cpu import usable_cores
from skerry.metrics import Metrics
from skerry.models.folder import ModelFolder
from skerry.node.stores import Stores
from skerry.pipelines.budget import MemoryBudget
from skerry.pipelines.fetching import Fetcher
from skerry.sql.spaces import Space
from skerry.vectors.base import CollectionSpec, FieldType, VectorIndex


@dataclass(frozen=True, slots=True)
class Ground:
    """Shared by all parts. What a part opens, it puts on `stack`, which closes in reverse order."""

    settings: Settings
    stores: Stores
    metrics: Metrics
    threads: ThreadPoolExecutor
    models: ModelFolder
    fetcher: Fetcher
    budget: MemoryBudget
    stack: AsyncExitStack

    def make_index(
        self, name: str, fields: Mapping[str, FieldType], space: Space, feed: Feed
    ) -> Index:
        """An index over `space`, by the vector backend of the settings, not yet opened."""
        return Index(
            CollectionSpec(name, space.name, space.size, fields=fields),
            feed=feed,
            factory=lambda folder: make_vectors(self.settings, folder),
            folder=index_folder(self.settings) / space.name.replace(":", "-"),
            metrics=self.metrics,
        )


def index_folder(settings: Settings) -> Path:
    """Where the indexes of all spaces lie, or what is known here of those on a server."""
    return settings.data_folder / "index"


def make_vectors(settings: Settings, folder: Path) -> VectorIndex:
    """The vector backend of the settings, not yet opened; ConfigError for a wrong table."""
    backend: VectorIndex = open_backend("vectors", settings.vectors, folder=folder)
    return backend


def lay_ground(
    settings: Settings,
    stores: Stores,
    metrics: Metrics,
    *,
    models: ModelFolder,
    stack: AsyncExitStack,
) -> Ground:
    """Make the threads, the fetcher of models and their memory budget.

    Raises ConfigError for settings of vectors that no index could be made from.
    """
    make_vectors(settings, index_folder(settings))
    cores = settings.models.threads or usable_cores()
    # One more than cores: a thread that waits for the GIL leaves no core idle.
    threads = ThreadPoolExecutor(cores + 1, thread_name_prefix="compute")
    stack.callback(threads.shutdown, cancel_futures=True)
    fetcher = Fetcher(models, settings.models)
    stack.callback(fetcher.close)
    budget = MemoryBudget(settings.models.memory_limit_bytes, metrics=metrics)
    if (keep_alive_s := settings.models.keep_alive_s) > 0:
        unloading = asyncio.create_task(budget.unload_unused(keep_alive_s=keep_alive_s))
        stack.callback(unloading.cancel)
    return Ground(settings, stores, metrics, threads, models, fetcher, budget, stack)
