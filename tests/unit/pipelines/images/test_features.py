"""Features: ranking, packing, single flight and what a lost cache does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from skerry.errors import DeadlineExceeded, StoreUnavailable
from skerry.inference.base import EngineInfo, Runner, Submitted
from skerry.inference.features import rank
from skerry.kv.memory import MemoryStore
from skerry.metrics import Metrics
from skerry.models.manifest import ImageManifest, Preprocess, Source
from skerry.pipelines.images.features import FeatureExtractor
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
    """Counts what reaches the model, and answers when it is let."""

    def __init__(self) -> None:
        self.calls = 0
        self.go = asyncio.Event()
        info = EngineInfo("tiny", "test", "cpu", "fp32", "fingerprint", "tiny")
        self.runner: Runner = type("R", (), {"info": info, "streams": 1})()

    async def submit(self, image: bytes, *, deadline: float) -> Submitted:
        self.calls += 1
        await self.go.wait()
        features = rank(logits=np.array([0, 2, 1], "f4"), embedding=np.array([3, 4, 0], "f4"))
        return Submitted(features.pack(), decode_s=0.001, queue_s=0.0, inference_s=0.001)

    async def close(self) -> None:
        pass


class LostStore(MemoryStore):
    """A store whose server is gone."""

    async def get(self, key: str) -> bytes | None:
        raise StoreUnavailable("gone")

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        raise StoreUnavailable("gone")


def photo(colour: int = 90) -> bytes:
    return bytes([colour])


def extractor_over(submitter: CountingSubmitter, cache: MemoryStore | None) -> FeatureExtractor:
    return FeatureExtractor(MANIFEST, submitter, cache=cache, ttl_s=60.0, metrics=Metrics())


def memory(tmp_path: Path, kind: type[MemoryStore] = MemoryStore) -> MemoryStore:
    return kind(kind.Options(), folder=tmp_path)


def soon() -> float:
    return asyncio.get_running_loop().time() + 5.0


async def test_twenty_equal_uploads_at_once_make_one_inference(tmp_path: Path) -> None:
    submitter = CountingSubmitter()
    extractor = extractor_over(submitter, memory(tmp_path))
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


async def test_a_hit_decodes_nothing(tmp_path: Path) -> None:
    submitter = CountingSubmitter()
    submitter.go.set()
    extractor = extractor_over(submitter, memory(tmp_path))
    await extractor.extract(photo(), deadline=soon(), stages=Stages())
    stages = Stages()
    hit = await extractor.extract(photo(), deadline=soon(), stages=stages)
    assert (hit.cache, submitter.calls) == ("hit", 1)
    assert set(stages.seconds) == {"cache"}


async def test_a_caller_that_leaves_does_not_take_the_result_from_the_others(
    tmp_path: Path,
) -> None:
    submitter = CountingSubmitter()
    extractor = extractor_over(submitter, memory(tmp_path))
    first = asyncio.create_task(extractor.extract(photo(), deadline=soon(), stages=Stages()))
    second = asyncio.create_task(extractor.extract(photo(), deadline=soon(), stages=Stages()))
    await asyncio.sleep(0)
    first.cancel()
    submitter.go.set()
    assert (await second).cache == "shared"
    assert submitter.calls == 1


async def test_past_its_deadline_a_caller_is_told_so(tmp_path: Path) -> None:
    extractor = extractor_over(CountingSubmitter(), memory(tmp_path))
    deadline = asyncio.get_running_loop().time() + 0.05
    with pytest.raises(DeadlineExceeded) as caught:
        await extractor.extract(photo(), deadline=deadline, stages=Stages())
    assert caught.value.retry_after_s


async def test_a_lost_cache_is_said_and_images_are_still_computed(tmp_path: Path) -> None:
    submitter = CountingSubmitter()
    submitter.go.set()
    extractor = extractor_over(submitter, memory(tmp_path, LostStore))
    for _ in range(2):
        got = await extractor.extract(photo(), deadline=soon(), stages=Stages())
        assert got.cache == "unavailable"
    assert submitter.calls == 2


async def test_without_a_cache_the_answer_says_off() -> None:
    submitter = CountingSubmitter()
    submitter.go.set()
    extractor = extractor_over(submitter, None)
    got = await extractor.extract(photo(), deadline=soon(), stages=Stages())
    assert got.cache == "off"
