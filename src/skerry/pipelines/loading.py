"""Load a model so that requests can use it; the default one is pulled when it is not there."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Executor

from skerry.config import Settings
from skerry.errors import ModelNotFound, ServiceUnavailable
from skerry.inference.batcher import Batcher
from skerry.inference.loading import load_engine
from skerry.kv.base import KeyValueStore
from skerry.metrics import Metrics
from skerry.models.folder import ModelFolder
from skerry.models.manifest import ImageManifest, ImageModel, of_task
from skerry.models.progress import Progress
from skerry.pipelines.features import Decoder, FeatureExtractor

log = logging.getLogger(__name__)


class ModelLoader:
    """Makes extractors: the model's files, an engine, admission, and the cache before them."""

    def __init__(
        self,
        folder: ModelFolder,
        settings: Settings,
        *,
        decoder: Decoder,
        threads: Executor,
        cache: KeyValueStore | None,
        metrics: Metrics,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._decoder = decoder
        self._threads = threads
        self._cache = cache
        self._metrics = metrics
        self._closing = threading.Event()

    def close(self) -> None:
        """Give up a pull that runs: it is continued, or begun anew, at the next start."""
        self._closing.set()

    async def load(self, name: str, *, pull: bool) -> FeatureExtractor:
        """The extractor of an installed model; `pull` fetches one of the catalogue when absent.

        Raises ModelNotFound, ModelUnavailable, SourceUnreachable, ConfigError.
        """
        model = await asyncio.to_thread(self._installed, name, pull=pull)
        settings = self._settings
        engine = await asyncio.to_thread(
            load_engine, model, settings=settings.models, metrics=self._metrics
        )
        submitter = Batcher(
            engine,
            metrics=self._metrics,
            queue=settings.limits.queue,
            # A CPU's engine and the decoder take turns: many more threads than cores only get in
            # each other's way. Elsewhere the device computes, and its calls merely wait.
            threads=self._threads if engine.info.device == "cpu" else None,
        )
        return FeatureExtractor(
            model.manifest,
            submitter,
            self._decoder,
            cache=self._cache,
            ttl_s=settings.cache.ttl_s,
            metrics=self._metrics,
        )

    def _installed(self, name: str, *, pull: bool) -> ImageModel:
        try:
            # Every byte is read: weights that have changed would give features that mean nothing.
            return of_task(self._folder.verify(name), ImageManifest)
        except ModelNotFound:
            if not pull:
                raise
        log.info("The model '%s' is not here yet: pulling it", name)
        # Converting needs packages that serving does not: loaded only now.
        from skerry.models.store import ModelStore
        from skerry.pipelines.install import pull_model

        store = ModelStore(self._folder.folder)
        pulled = pull_model(
            store, name, settings=self._settings.models, progress=self._refuse_when_closing
        )
        return of_task(pulled, ImageManifest)

    def _refuse_when_closing(self, _: Progress) -> None:
        if self._closing.is_set():
            raise ServiceUnavailable("The node is shutting down.")
