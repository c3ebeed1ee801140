"""Load a model so that requests can use it; the default one is pulled when it is not there."""

from __future__ import annotations

import asyncio

from skerry.config import Settings
from skerry.inference.batcher import Batcher
from skerry.inference.image_process import ImageProcess
from skerry.kv.base import KeyValueStore
from skerry.metrics import Metrics
from skerry.models.manifest import ImageManifest, ImageModel, of_task
from skerry.pipelines.budget import MemoryBudget, weights_bytes
from skerry.pipelines.features import FeatureExtractor
from skerry.pipelines.fetching import Fetcher


class ModelLoader:
    """Makes extractors: the model's files, an engine, admission, and the cache before them."""

    def __init__(
        self,
        fetcher: Fetcher,
        settings: Settings,
        *,
        cache: KeyValueStore | None,
        budget: MemoryBudget,
        metrics: Metrics,
    ) -> None:
        self._fetcher = fetcher
        self._settings = settings
        self._cache = cache
        self._budget = budget
        self._metrics = metrics

    async def load(self, name: str, *, pull: bool) -> FeatureExtractor:
        """The extractor of an installed model; `pull` fetches one of the catalogue when absent.

        Raises ModelNotFound, ModelUnavailable, SourceUnreachable, ConfigError, MemoryLimitReached.
        """
        fetch = self._fetcher.pulled if pull else self._fetcher.installed
        model = of_task(await asyncio.to_thread(fetch, name), ImageManifest)
        await self._budget.take(name, weights_bytes(model.manifest))
        try:
            return await self._extractor(model)
        except BaseException:
            self._budget.give_back(name)
            raise

    async def _extractor(self, model: ImageModel) -> FeatureExtractor:
        settings = self._settings
        runner = await ImageProcess.start(
            model,
            settings=settings.models,
            max_pixels=settings.limits.max_pixels,
            metrics=self._metrics,
        )
        submitter = Batcher(runner, metrics=self._metrics, queue=settings.limits.queue)
        return FeatureExtractor(
            model.manifest,
            submitter,
            cache=self._cache,
            ttl_s=settings.cache.ttl_s,
            metrics=self._metrics,
        )
