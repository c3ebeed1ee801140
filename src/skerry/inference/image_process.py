"""An image model in a process of its own, started anew when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from skerry.config import ModelSettings
from skerry.errors import ModelUnavailable
from skerry.inference.base import EngineInfo, Extractions
from skerry.inference.image_wire import (
    Load,
    Loaded,
    Run,
    decode_extractions,
    decode_loaded,
    encode,
)
from skerry.metrics import Metrics
from skerry.models.manifest import ImageModel
from skerry.workers.kept import Kept
from skerry.workers.process import Worker, WorkerSpec

NAME = "images"
WORKER = WorkerSpec(name=NAME, module="skerry.inference.image_worker", gone=ModelUnavailable)
LOAD_LIMIT_S = 600.0
"""Precisions may be measured, and the model compiled, on the first start."""
RUN_LIMIT_S = 120.0
"""Calls wait for each other, and the largest images take some seconds on a slow core."""


class ImageProcess:
    """Implements Runner."""

    def __init__(
        self, model: ImageModel, *, settings: ModelSettings, max_pixels: int, metrics: Metrics
    ) -> None:
        self._load = Load(
            folder=str(model.folder.parent),
            name=model.folder.name,
            settings=settings,
            max_pixels=max_pixels,
        )
        self._metrics = metrics
        self._loaded: Loaded | None = None
        self._kept = Kept(model.manifest.name, kind=NAME, start=self._start, metrics=metrics)

    @classmethod
    async def start(
        cls, model: ImageModel, *, settings: ModelSettings, max_pixels: int, metrics: Metrics
    ) -> Self:
        """Load `model` as `settings` ask.

        Raises ConfigError for what this machine lacks, ModelUnavailable for files that are
        missing or cannot be read.
        """
        made = cls(model, settings=settings, max_pixels=max_pixels, metrics=metrics)
        await made._kept.running()
        return made

    @property
    def pid(self) -> int | None:
        """The process id."""
        return self._kept.pid

    @property
    def info(self) -> EngineInfo:
        """What runs."""
        return self._ready.info

    @property
    def streams(self) -> int:
        """Calls that compute side by side."""
        return self._ready.streams

    @property
    def calls(self) -> int:
        """Some stand ready beside those that compute, so that no thread waits for the node; fewer
        where images are joined meanwhile."""
        ready = self._ready
        return ready.streams + 1 if ready.max_batch > 1 else 2 * (ready.streams + 1)

    @property
    def max_batch(self) -> int:
        """Images that one call gains from joining."""
        return self._ready.max_batch

    async def run(self, images: Sequence[bytes]) -> Extractions:
        """Features of each image; ModelUnavailable when the engine fails or the process dies."""
        worker = await self._kept.running()
        return decode_extractions(await worker.call(encode(Run(images)), limit_s=RUN_LIMIT_S))

    async def close(self) -> None:
        """Finish the calls under way, then end the process."""
        worker = self._kept.close()
        if worker is not None:
            await worker.stop()

    @property
    def _ready(self) -> Loaded:
        assert self._loaded is not None, "made by start()"
        return self._loaded

    async def _start(self) -> Worker:
        worker = await Worker.start(WORKER)
        try:
            loaded = decode_loaded(await worker.call(encode(self._load), limit_s=LOAD_LIMIT_S))
            self._check(loaded)
        except BaseException:
            worker.kill()
            raise
        self._loaded = loaded
        labels = (loaded.info.model, loaded.info.precision)
        self._metrics.model_load.labels(*labels).set(loaded.elapsed_s)
        return worker

    def _check(self, loaded: Loaded) -> None:
        """What was said of the model holds for as long as the node runs."""
        if self._loaded is not None and self._loaded.info != loaded.info:
            raise ModelUnavailable(
                f"The model '{loaded.info.model}' has changed on disk since the node started.",
                remedy="Start the node again.",
            )
