"""Bring an image model to this machine and into memory, behind its admission and the cache."""

from __future__ import annotations

import asyncio

from skerry.config import Settings
from skerry.inference.batcher import Batcher
from skerry.inference.image_process import ImageProcess
from skerry.kv.base import KeyValueStore
from skerry.metrics import Metrics
from skerry.models.manifest import ImageManifest, Task, of_task
from skerry.pipelines.budget import weights_bytes
from skerry.pipelines.fetching import Fetcher
from skerry.pipelines.images.features import FeatureExtractor

PROCESS_BYTES = 96 << 20
"""An interpreter with its libraries, and room to decode a photo."""


class ImageLoader:
    """Makes extractors: a process with an engine, admission, and the cache before them."""

    def __init__(
        self,
        fetcher: Fetcher,
        settings: Settings,
        *,
        cache: KeyValueStore | None,
        metrics: Metrics,
    ) -> None:
        self._fetcher = fetcher
        self._settings = settings
        self._cache = cache
        self._metrics = metrics

    async def install(self, name: str) -> None:
        """Pull a model of the catalogue when it is absent; raises what pulling raises."""
        await asyncio.to_thread(self._fetcher.install, name)

    async def footprint_bytes(self, name: str, task: Task) -> int:
        """Memory it will take, estimated, once every byte of its files was checked.

        Raises ModelNotFound, ModelUnavailable, and WrongTask when it is for something else.
        """
        model = of_task(await asyncio.to_thread(self._fetcher.installed, name), ImageManifest)
        return PROCESS_BYTES + weights_bytes(model.manifest)

    async def load(self, name: str) -> FeatureExtractor:
        """Load what `footprint_bytes` has checked; raises ModelUnavailable, ConfigError."""
        model = of_task(await asyncio.to_thread(self._fetcher.described, name), ImageManifest)
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
