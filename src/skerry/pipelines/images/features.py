"""From image bytes to features: cache, single flight, the model's process."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import Literal

import msgspec

from skerry.errors import DeadlineExceeded, StoreUnavailable
from skerry.inference.base import Submitter
from skerry.inference.features import Features
from skerry.kv.base import KeyValueStore
from skerry.metrics import Metrics
from skerry.models.manifest import ImageManifest
from skerry.pipelines.stages import Stages

log = logging.getLogger(__name__)

CacheResult = Literal["hit", "miss", "shared", "off", "unavailable"]
RESULTS: tuple[CacheResult, ...] = ("hit", "miss", "shared", "off", "unavailable")
# Names what `Features.pack` writes: a store that outlives the node may hold older entries.
KEY_PREFIX = "features:2:"


class Extraction(msgspec.Struct, frozen=True):
    """Features and how they were come by."""

    features: Features
    cache: CacheResult


class FeatureExtractor:
    """Features of images by one model; equal images in flight share one inference."""

    def __init__(
        self,
        manifest: ImageManifest,
        submitter: Submitter,
        *,
        cache: KeyValueStore | None,
        ttl_s: float,
        metrics: Metrics,
    ) -> None:
        self.manifest = manifest
        self.info = submitter.runner.info
        self.streams = submitter.runner.streams
        self._submitter = submitter
        self._cache = cache
        self._cache_down = False
        self._ttl_s = ttl_s
        self._flights: dict[str, asyncio.Task[Features]] = {}
        self._lookups = {name: metrics.cache_lookups.labels(name) for name in RESULTS}

    async def extract(self, image: bytes, *, deadline: float, stages: Stages) -> Extraction:
        """Features of `image`; `deadline` in `loop.time()` seconds.

        Raises ImageUnreadable, PayloadTooLarge, Overloaded, DeadlineExceeded, ModelUnavailable.
        """
        key = self._key(image)
        with stages.measure("cache"):
            cached, result = await self._lookup(key)
        if cached is not None:
            self._lookups["hit"].inc()
            return Extraction(cached, "hit")
        flight = self._flights.get(key)
        if flight is None:
            flight = self._take_off(key, image, deadline=deadline, stages=stages)
        else:
            result = "shared"
        self._lookups[result].inc()
        began = time.perf_counter()
        features = await _before(deadline, flight)
        if result == "shared":
            stages.add("queue", time.perf_counter() - began)
        return Extraction(features, result)

    async def close(self) -> None:
        """Finish what is in flight, then free the engine."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
        await self._submitter.close()
        await self._submitter.runner.close()

    def _key(self, image: bytes) -> str:
        digest = hashlib.sha256(image).hexdigest()
        return f"{KEY_PREFIX}{digest}:{self.info.fingerprint}"

    def _take_off(
        self, key: str, image: bytes, *, deadline: float, stages: Stages
    ) -> asyncio.Task[Features]:
        flight = asyncio.create_task(self._infer(key, image, deadline=deadline, stages=stages))
        self._flights[key] = flight
        flight.add_done_callback(lambda done: self._land(key, done))
        return flight

    def _land(self, key: str, flight: asyncio.Task[Features]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # Seen here, in case every caller has gone.

    async def _infer(self, key: str, image: bytes, *, deadline: float, stages: Stages) -> Features:
        done = await self._submitter.submit(image, deadline=deadline)
        stages.add("decode", done.decode_s)
        stages.add("queue", done.queue_s)
        stages.add("inference", done.inference_s)
        await self._remember(key, done.packed)
        return Features.unpack(done.packed)

    async def _lookup(self, key: str) -> tuple[Features | None, CacheResult]:
        if self._cache is None:
            return None, "off"
        try:
            data = await self._cache.get(key)
        except StoreUnavailable as error:
            self._note_cache(error)
            return None, "unavailable"
        self._note_cache(None)
        return (Features.unpack(data), "hit") if data is not None else (None, "miss")

    async def _remember(self, key: str, packed: bytes) -> None:
        if self._cache is None:
            return
        try:
            await self._cache.set(key, packed, ttl_s=self._ttl_s)
        except StoreUnavailable as error:
            self._note_cache(error)

    def _note_cache(self, error: StoreUnavailable | None) -> None:
        if error is not None and not self._cache_down:
            log.warning("Feature cache lost, every image is computed: %s", error.message)
        if error is None and self._cache_down:
            log.info("Feature cache is back")
        self._cache_down = error is not None


async def _before(deadline: float, flight: asyncio.Task[Features]) -> Features:
    loop = asyncio.get_running_loop()
    try:
        # Shielded: a caller that leaves does not take the result from the others.
        async with asyncio.timeout_at(deadline):
            return await asyncio.shield(flight)
    except TimeoutError:
        late_s = loop.time() - deadline
        raise DeadlineExceeded(
            f"The image was not done by its deadline ({late_s:.1f} s ago).", retry_after_s=1.0
        ) from None
