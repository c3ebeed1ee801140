"""What is particular to the engine in its worker: slices, files, building."""

import asyncio
import os
import signal

import numpy as np
import pytest

from skerry.errors import Overloaded
from skerry.vectors.base import Changes, CollectionSpec, Condition, Filter, Point, Range
from skerry.vectors.edge import EdgeVectors
from skerry.vectors.files import copy_tree, sync_tree
from skerry.vectors.shard import SLICES, slice_of

SIZE = 8
SPEC = CollectionSpec("things", "s", SIZE, fields={"by": "keyword", "n": "integer"})
COUNT = 2000


@pytest.fixture
async def index(tmp_path):
    index = EdgeVectors(EdgeVectors.Options(slice_bytes=16 * 4 * SIZE), folder=tmp_path / "c")
    await index.open(SPEC)
    random = np.random.default_rng(0)
    vectors = random.standard_normal((COUNT, SIZE)).astype(np.float32)
    points = [Point(n, vectors[n], {"by": "a", "n": n}) for n in range(COUNT)]
    await index.apply(Changes(COUNT, points, []))
    yield index
    await index.destroy()


QUERY = np.ones(SIZE, np.float32)
COMPLEX = Filter(must=tuple(Condition("n", except_=(n,)) for n in range(20)))
UNINDEXED = Filter(must_not=(Condition("other", range=Range(gte=1)),))


async def all_at_once(index, *searches):
    """Let the worker see none of the searches before all of them."""
    os.kill(index.pid, signal.SIGSTOP)
    tasks = [asyncio.ensure_future(search) for search in searches]
    await asyncio.sleep(0)
    os.kill(index.pid, signal.SIGCONT)
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    "thorough", [{"exact": True}, {"filter": COMPLEX}, {"filter": UNINDEXED}], ids=str
)
async def test_short_search_passes_a_thorough_one(index, thorough):
    order = []

    async def note(name, search):
        await search
        order.append(name)

    await all_at_once(
        index,
        note("thorough", index.search(QUERY, limit=10, **thorough)),
        *(note("short", index.search(QUERY, limit=10)) for _ in range(5)),
    )
    assert order == ["short"] * 5 + ["thorough"]


async def test_thorough_searches_over_the_bound_are_refused(index):
    searches = [index.search(QUERY, limit=10, exact=True) for _ in range(40)]
    results = await all_at_once(index, *searches)
    refused = [result for result in results if isinstance(result, Overloaded)]
    answered = [result for result in results if isinstance(result, list)]
    assert refused
    assert len(answered) >= 16
    assert all(result == answered[0] for result in answered)


async def test_changes_are_seen_by_a_thorough_search_sent_after_them(index):
    for number in range(5):
        new = COUNT + number
        await index.apply(Changes(new, [Point(new, QUERY * (1 + number), {})], []))
        found = await index.search(QUERY, limit=20, exact=True)
        assert new in {match.id for match in found}


async def test_many_deletions_make_a_smaller_copy_worth_while(index, tmp_path):
    assert await index.optimised(tmp_path / "none") is None
    status = await index.apply(Changes(COUNT + 1, [], list(range(1100))))
    assert status.optimisable
    copy = await index.optimised(tmp_path / "copy")
    status = await copy.status()
    assert (status.points, status.applied_seq, status.optimisable) == (900, COUNT + 1, False)
    assert await copy.search(QUERY, limit=50, exact=True) == await index.search(
        QUERY, limit=50, exact=True
    )
    await copy.destroy()


async def test_closing_does_not_wait_for_a_build(index, tmp_path):
    await index.apply(Changes(COUNT + 1, [], list(range(1100))))
    building = asyncio.create_task(index.optimised(tmp_path / "copy"))
    await asyncio.sleep(0.05)
    building.cancel()
    async with asyncio.timeout(8):
        await asyncio.wait([building])
        await index.close()


def test_slices_are_of_about_equal_size():
    for ids in (range(25_600), range(0, 256_000, 10), range(0, 25_600 * 256, 256)):
        counts = np.bincount([slice_of(n) for n in ids], minlength=SLICES)
        assert counts.min() > 60
        assert counts.max() < 140


def test_copy_keeps_bytes_and_holes(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "deep" / "er").mkdir(parents=True)
    with (source / "deep" / "sparse").open("wb") as file:
        file.write(b"start")
        file.seek(50 << 20)
        file.write(b"end")
        file.truncate(60 << 20)
    (source / "deep" / "er" / "full").write_bytes(bytes(range(256)) * 9000)
    (source / "empty").touch()
    copy_tree(source, target)
    sync_tree(target)
    for path in source.rglob("*"):
        copied = target / path.relative_to(source)
        assert copied.is_dir() if path.is_dir() else copied.read_bytes() == path.read_bytes()
    assert (target / "deep" / "sparse").stat().st_blocks * 512 < 5 << 20
