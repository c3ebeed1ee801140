"""Features: ranking, packing, single flight and what a lost cache does."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from skerry.errors import DeadlineExceeded, Overloaded, StoreUnavailable
from skerry.inference.base import Engine, EngineInfo, Submitted
from skerry.kv.memory import MemoryStore
from skerry.metrics import Metrics
from skerry.models.manifest import ImageManifest, Preprocess, Source
from skerry.pipelines.features import Decoder, FeatureExtractor, Features, rank
from skerry.pipelines.stages import Stages

MANIFEST = ImageManifest(
    name="tiny",
    architecture="none",
    preprocess=Preprocess(8, "stretch", "bilinear", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    labels=("a", "b", "c"),
    embedding_size=3,
    space="tiny",
    source=Source("file", "none"),
    license="none",
)


class CountingSubmitter:
    """Counts what reaches the engine, and answers when it is let."""

    def __init__(self) -> None:
        self.calls = 0
        self.go = asyncio.Event()
        info = EngineInfo("tiny", "test", "cpu", "fp32", "fingerprint", "tiny")
        self.engine: Engine = type("E", (), {"info": info, "streams": 1, "close": lambda _: None})()

    async def submit(self, tensor: np.ndarray, *, deadline: float) -> Submitted:
        self.calls += 1
        await self.go.wait()
        mean = np.float32(tensor.mean())
        return Submitted(np.array([0, 2, 1], "f4"), np.array([3, 4, mean * 0], "f4"), 0.0, 0.001)

    async def close(self) -> None:
        pass


class LostStore(MemoryStore):
    """A store whose server is gone."""

    async def get(self, key: str) -> bytes | None:
        raise StoreUnavailable("gone")

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        raise StoreUnavailable("gone")


def photo(colour: int = 90) -> bytes:
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.new("RGB", (16, 16), (colour, 10, 10)).save(out, "PNG")
    return out.getvalue()


def extractor_over(
    submitter: CountingSubmitter, cache: MemoryStore | None
) -> tuple[FeatureExtractor, ThreadPoolExecutor]:
    threads = ThreadPoolExecutor(1)
    decoder = Decoder(threads, limit=65, max_pixels=1000)
    extractor = FeatureExtractor(
        MANIFEST, submitter, decoder, cache=cache, ttl_s=60.0, metrics=Metrics()
    )
    return extractor, threads


def memory(tmp_path: Path, kind: type[MemoryStore] = MemoryStore) -> MemoryStore:
    return kind(kind.Options(), folder=tmp_path)


def soon() -> float:
    return asyncio.get_running_loop().time() + 5.0


def test_ranked_labels_fall_in_probability_and_the_embedding_has_length_one() -> None:
    features = rank(Submitted(np.array([0, 2, 1], "f4"), np.array([3, 4], "f4"), 0, 0))
    assert features.indices.tolist() == [1, 2, 0]
    assert np.all(np.diff(features.probabilities) <= 0)
    assert features.probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    assert features.embedding.tolist() == pytest.approx([0.6, 0.8])


def test_packed_features_come_back_equal() -> None:
    features = rank(Submitted(np.arange(300, dtype="f4"), np.arange(7, dtype="f4"), 0, 0))
    again = Features.unpack(features.pack())
    for name in ("embedding", "indices", "probabilities"):
        assert np.array_equal(getattr(features, name), getattr(again, name))
    assert again.indices.size == 100
    assert again.embedding_json == features.embedding_json


def test_the_json_of_an_embedding_reads_back_as_its_very_floats() -> None:
    features = rank(Submitted(np.arange(9, dtype="f4"), np.arange(7, dtype="f4") / 3, 0, 0))
    read = np.array(json.loads(features.embedding_json), "f4")
    assert np.array_equal(read, features.embedding)


async def test_twenty_equal_uploads_at_once_make_one_inference(tmp_path: Path) -> None:
    submitter = CountingSubmitter()
    extractor, threads = extractor_over(submitter, memory(tmp_path))
    image = photo()
    callers = [
        asyncio.create_task(extractor.extract(image, deadline=soon(), stages=Stages()))
        for _ in range(20)
    ]
    await asyncio.sleep(0)
    submitter.go.set()
    results = [extraction.cache for extraction in await asyncio.gather(*callers)]
    assert submitter.calls == 1
    assert sorted(results) == ["miss", *["shared"] * 19]
    after = await extractor.extract(image, deadline=soon(), stages=Stages())
    assert (after.cache, submitter.calls) == ("hit", 1)
    threads.shutdown()


async def test_a_hit_decodes_nothing(tmp_path: Path) -> None:
    submitter = CountingSubmitter()
    submitter.go.set()
    extractor, threads = extractor_over(submitter, memory(tmp_path))
    await extractor.extract(photo(), deadline=soon(), stages=Stages())
    threads.shutdown()  # From here on a decode would raise.
    stages = Stages()
    hit = await extractor.extract(photo(), deadline=soon(), stages=stages)
    assert hit.cache == "hit"
    assert set(stages.seconds) == {"cache"}


async def test_a_caller_that_leaves_does_not_take_the_result_from_the_others(
    tmp_path: Path,
) -> None:
    submitter = CountingSubmitter()
    extractor, threads = extractor_over(submitter, memory(tmp_path))
    first = asyncio.create_task(extractor.extract(photo(), deadline=soon(), stages=Stages()))
    second = asyncio.create_task(extractor.extract(photo(), deadline=soon(), stages=Stages()))
    await asyncio.sleep(0)
    first.cancel()
    submitter.go.set()
    assert (await second).cache == "shared"
    assert submitter.calls == 1
    threads.shutdown()


async def test_past_its_deadline_a_caller_is_told_so(tmp_path: Path) -> None:
    extractor, threads = extractor_over(CountingSubmitter(), memory(tmp_path))
    deadline = asyncio.get_running_loop().time() + 0.05
    with pytest.raises(DeadlineExceeded) as caught:
        await extractor.extract(photo(), deadline=deadline, stages=Stages())
    assert caught.value.retry_after_s
    threads.shutdown()


async def test_a_lost_cache_is_said_and_images_are_still_computed(tmp_path: Path) -> None:
    submitter = CountingSubmitter()
    submitter.go.set()
    extractor, threads = extractor_over(submitter, memory(tmp_path, LostStore))
    for _ in range(2):
        got = await extractor.extract(photo(), deadline=soon(), stages=Stages())
        assert got.cache == "unavailable"
    assert submitter.calls == 2
    threads.shutdown()


async def test_without_a_cache_the_answer_says_off() -> None:
    submitter = CountingSubmitter()
    submitter.go.set()
    extractor, threads = extractor_over(submitter, None)
    got = await extractor.extract(photo(), deadline=soon(), stages=Stages())
    assert got.cache == "off"
    threads.shutdown()


async def test_a_caller_that_leaves_before_its_decode_began_frees_its_place_at_once() -> None:
    threads, go = ThreadPoolExecutor(1), threading.Event()
    threads.submit(go.wait, 10)
    decoder = Decoder(threads, limit=2, max_pixels=1000)
    stays, leaves = (
        asyncio.create_task(decoder.decode(photo(), MANIFEST.preprocess)) for _ in range(2)
    )
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await decoder.decode(photo(), MANIFEST.preprocess)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    other = asyncio.create_task(decoder.decode(photo(), MANIFEST.preprocess))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await decoder.decode(photo(), MANIFEST.preprocess)
    go.set()
    assert (await stays).tensor.shape == (await other).tensor.shape
    await decoder.decode(photo(), MANIFEST.preprocess)
    threads.shutdown()
