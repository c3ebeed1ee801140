"""From image bytes to features: cache, single flight, decode, engine."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import struct
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from threading import Semaphore
from typing import Literal

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from skerry.errors import DeadlineExceeded, Overloaded, StoreUnavailable
from skerry.inference.base import Submitted, Submitter
from skerry.kv.base import KeyValueStore
from skerry.media.images import decode
from skerry.metrics import Metrics
from skerry.models.manifest import ImageManifest, Preprocess
from skerry.pipelines.stages import Stages

log = logging.getLogger(__name__)

CacheResult = Literal["hit", "miss", "shared", "off", "unavailable"]
RESULTS: tuple[CacheResult, ...] = ("hit", "miss", "shared", "off", "unavailable")
RANKED = 100  # labels kept of each answer; more than anybody reads, less than a kilobyte
HEADER = struct.Struct("<II")
# Names what `Features.pack` writes: a store that outlives the node may hold older entries.
KEY_PREFIX = "features:2:"


class Features(msgspec.Struct, frozen=True):
    """What an engine gave for one image.

    `embedding`: float32 (d,), L2-normalised; `indices` int32 and `probabilities` float32, both
    (min(classes, 100),), in falling order of probability. `embedding_json` is the embedding as
    answers write it, which costs more than all else a cached answer computes but the hash.
    """

    embedding: NDArray[np.float32]
    indices: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    embedding_json: bytes

    def pack(self) -> bytes:
        """As the cache holds it: two lengths, the three arrays, little-endian, and the JSON."""
        head = HEADER.pack(self.embedding.size, self.indices.size)
        arrays = (self.embedding, self.indices, self.probabilities)
        return b"".join((head, *(array.tobytes() for array in arrays), self.embedding_json))

    @classmethod
    def unpack(cls, data: bytes) -> Features:
        """The inverse of `pack`; the arrays are views of `data`."""
        size, ranked = HEADER.unpack_from(data)
        offset = HEADER.size
        embedding = np.frombuffer(data, np.float32, size, offset)
        offset += embedding.nbytes
        indices = np.frombuffer(data, np.int32, ranked, offset)
        offset += indices.nbytes
        probabilities = np.frombuffer(data, np.float32, ranked, offset)
        offset += probabilities.nbytes
        return cls(embedding, indices, probabilities, data[offset:])


class Extraction(msgspec.Struct, frozen=True):
    """Features and how they were come by."""

    features: Features
    cache: CacheResult


@dataclass(frozen=True, slots=True)
class Decoded:
    """A model's input, float32 (3, size, size), how long it waited and how long it took."""

    tensor: NDArray[np.float32]
    queue_s: float
    decode_s: float


class Decoder:
    """Decodes images in `threads`, releasing the GIL; bounded, so that memory is."""

    def __init__(self, threads: Executor, *, limit: int, max_pixels: int) -> None:
        self._threads = threads
        self._places = Semaphore(limit)
        self._max_pixels = max_pixels

    async def decode(self, image: bytes, preprocess: Preprocess) -> Decoded:
        """Raises ImageUnreadable, PayloadTooLarge, and Overloaded when too many wait."""
        if not self._places.acquire(blocking=False):
            raise Overloaded("Too many images wait to be decoded.", retry_after_s=1.0)
        work = self._threads.submit(self._decode, image, preprocess, time.perf_counter())
        # The place is free when the work has ended, not when its caller has gone; freed in the
        # thread that did it, which saves the event loop a wake-up for each image.
        work.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(work)

    def _decode(self, image: bytes, preprocess: Preprocess, since: float) -> Decoded:
        began = time.perf_counter()
        tensor = decode(image, preprocess, max_pixels=self._max_pixels)
        return Decoded(tensor, began - since, time.perf_counter() - began)


class FeatureExtractor:
    """Features of images by one model; equal images in flight share one inference."""

    def __init__(
        self,
        manifest: ImageManifest,
        submitter: Submitter,
        decoder: Decoder,
        *,
        cache: KeyValueStore | None,
        ttl_s: float,
        metrics: Metrics,
    ) -> None:
        self.manifest = manifest
        self.info = submitter.engine.info
        self.streams = submitter.engine.streams
        self._submitter = submitter
        self._decoder = decoder
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
        self._submitter.engine.close()

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
        decoded = await self._decoder.decode(image, self.manifest.preprocess)
        stages.add("decode", decoded.decode_s)
        output = await self._submitter.submit(decoded.tensor, deadline=deadline)
        stages.add("queue", decoded.queue_s + output.queue_s)
        stages.add("inference", output.inference_s)
        features = rank(output)
        await self._remember(key, features)
        return features

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

    async def _remember(self, key: str, features: Features) -> None:
        if self._cache is None:
            return
        try:
            await self._cache.set(key, features.pack(), ttl_s=self._ttl_s)
        except StoreUnavailable as error:
            self._note_cache(error)

    def _note_cache(self, error: StoreUnavailable | None) -> None:
        if error is not None and not self._cache_down:
            log.warning("Feature cache lost, every image is computed: %s", error.message)
        if error is None and self._cache_down:
            log.info("Feature cache is back")
        self._cache_down = error is not None


def rank(output: Submitted) -> Features:
    """Normalise the embedding and rank the labels by softmax of the logits."""
    exponents = np.exp(output.logits - output.logits.max())
    probabilities = exponents / exponents.sum()
    kept = min(RANKED, probabilities.size)
    top = np.argpartition(probabilities, -kept)[-kept:]
    order = top[np.argsort(-probabilities[top], kind="stable")]
    norm = float(np.linalg.norm(output.embedding))
    embedding = output.embedding / np.float32(norm or 1.0)
    return Features(
        embedding,
        order.astype(np.int32),
        probabilities[order].astype(np.float32),
        # orjson writes float32 as its shortest decimals, ten times faster than a list of floats.
        orjson.dumps(embedding, option=orjson.OPT_SERIALIZE_NUMPY),
    )


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
