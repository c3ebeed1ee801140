"""The index follows the log, whatever happens to its backend."""

import asyncio
import os
import random
import signal

import numpy as np
import pytest

from index.journal import SIZE, Journal
from skerry.errors import IndexUnavailable, Overloaded
from skerry.index.view import Index, IndexOptions
from skerry.metrics import Metrics
from skerry.vectors.base import CollectionSpec
from skerry.vectors.edge import EdgeVectors
from skerry.vectors.exact import ExactVectors

SPEC = CollectionSpec("things", "space-a", SIZE, fields={"by": "keyword"})
OPTIONS = IndexOptions(batch=50, flush_changes=100, max_lag=200)


class Backends:
    """A factory that remembers what it made."""

    def __init__(self, make):
        self.made = []
        self._make = make

    def __call__(self, folder):
        self.made.append(self._make(folder))
        return self.made[-1]

    @property
    def pid(self):
        return self.made[-1].pid


def edge(folder):
    return EdgeVectors(EdgeVectors.Options(), folder=folder)


def exact(folder):
    return ExactVectors(ExactVectors.Options(), folder=folder)


class Setting:
    """An index over a journal, and what it was made with."""

    def __init__(self, folder, make, **changes):
        self.folder = folder
        self.journal = Journal()
        self.backends = Backends(make)
        self.metrics = Metrics()
        self.index = self.make_index(**changes)

    def make_index(self, spec=SPEC, options=OPTIONS):
        self.index = Index(
            spec,
            feed=self.journal,
            factory=self.backends,
            folder=self.folder,
            metrics=self.metrics,
            options=options,
        )
        return self.index

    async def search(self, vector, *, limit=5, within_s=20.0):
        deadline = asyncio.get_running_loop().time() + within_s
        return await self.index.search(vector, limit=limit, deadline=deadline)

    async def ids(self):
        return {match.id for match in await self.search(np.ones(SIZE), limit=1000)}

    def restarts(self):
        return self.metrics.worker_restarts.labels("vectors")._value.get()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it looks at sets no event
            await asyncio.sleep(0.02)


@pytest.fixture(params=[edge, exact])
async def setting(request, tmp_path):
    setting = Setting(tmp_path / "index", request.param)
    yield setting
    await setting.index.destroy()


@pytest.fixture
async def edge_setting(tmp_path):
    setting = Setting(tmp_path / "index", edge)
    yield setting
    await setting.index.destroy()


async def test_search_sees_what_was_committed_before_it(setting):
    await setting.index.open()
    for item_id in range(20):
        vector = setting.journal.put(item_id)
        assert (await setting.search(vector))[0].id == item_id
        if item_id % 3 == 0:
            setting.journal.delete(item_id)
            assert item_id not in await setting.ids()


async def test_what_others_write_to_the_log_is_noticed_unasked(setting):
    await setting.index.open()
    setting.journal.put(1)  # and nobody wakes the index
    await until(lambda: setting.index.state().lag == 0 and setting.index.state().points == 1)


async def test_search_says_how_far_behind_it_is_when_time_is_up(setting):
    await setting.index.open()
    setting.journal.open.clear()
    vector = setting.journal.put(1)
    with pytest.raises(IndexUnavailable, match="1 changes behind"):
        await setting.search(vector, within_s=0.1)
    setting.journal.open.set()
    assert (await setting.search(vector))[0].id == 1


async def test_closed_index_refuses_and_lets_nobody_wait_for_ever(setting):
    await setting.index.open()
    setting.journal.open.clear()
    vector = setting.journal.put(1)
    waiting = [
        asyncio.create_task(setting.search(vector)),
        asyncio.create_task(setting.index.caught_up(1)),
    ]
    await asyncio.sleep(0.05)
    await setting.index.close()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, IndexUnavailable)
    with pytest.raises(IndexUnavailable, match="closed"):
        await setting.search(vector)


async def test_state_and_metrics_tell_points_and_lag(setting):
    for item_id in range(120):
        setting.journal.put(item_id)
    await setting.index.open()
    await setting.index.caught_up(120)
    state = setting.index.state()
    assert (state.space, state.state, state.points, state.lag) == ("space-a", "ready", 120, 0)
    setting.journal.open.clear()
    for item_id in range(120, 200):
        setting.journal.put(item_id)
    state = setting.index.state()
    assert (state.state, state.lag) == ("catching_up", 80)
    assert 0.5 < state.progress < 1
    text = setting.metrics.render().decode()
    assert 'skerry_index_points{space="space-a"} 120.0' in text
    setting.journal.open.set()


async def test_writers_wait_when_the_index_is_too_far_behind(setting):
    await setting.index.open()
    loop = asyncio.get_running_loop()
    await setting.index.ready_for_writes(deadline=loop.time())
    setting.journal.open.clear()
    for item_id in range(OPTIONS.max_lag + 1):
        setting.journal.put(item_id)
    with pytest.raises(Overloaded) as caught:
        await setting.index.ready_for_writes(deadline=loop.time() + 0.05)
    assert caught.value.retry_after_s
    setting.journal.open.set()
    await setting.index.ready_for_writes(deadline=loop.time() + 20)


@pytest.mark.parametrize("bad", [[np.nan] * SIZE, [1.0] * (SIZE + 1)])
async def test_unusable_vector_is_left_out_and_counted_until_it_is_mended(setting, bad, caplog):
    await setting.index.open()
    good = setting.journal.put(1)
    setting.journal.put(2)
    assert await setting.ids() == {1, 2}
    setting.journal.put(2, vector=bad)
    assert await setting.ids() == {1}
    assert setting.index.state().skipped == 1
    assert "Left out of the index" in caplog.text
    setting.journal.put(2, vector=good)
    assert await setting.ids() == {1, 2}
    assert setting.index.state().skipped == 0


async def test_rebuild_takes_over_while_searches_go_on(setting):
    await setting.index.open()
    for item_id in range(300):
        setting.journal.put(item_id)
    await setting.index.caught_up(300)
    first = setting.backends.made[-1]
    rebuilding = asyncio.create_task(setting.index.rebuild())
    next_id = 300
    while not rebuilding.done():
        vector = setting.journal.put(next_id)
        assert (await setting.search(vector))[0].id == next_id
        next_id += 1
    await rebuilding
    assert setting.backends.made[-1] is not first
    assert await setting.ids() == set(range(next_id))
    with pytest.raises(IndexUnavailable):
        await first.status()
    assert setting.index.state().state == "ready"


async def test_failed_rebuild_leaves_the_present_index(setting):
    await setting.index.open()
    vector = setting.journal.put(1)
    await setting.search(vector)

    async def fail(spec):
        raise IndexUnavailable("no space left")

    def broken(folder):
        backend = setting.backends._make(folder)
        backend.open = fail
        return backend

    setting.index._factory = broken
    with pytest.raises(IndexUnavailable, match="no space left"):
        await setting.index.rebuild()
    assert (await setting.search(vector))[0].id == 1


async def test_backend_that_does_not_open_is_tried_again_and_named(tmp_path):
    setting = Setting(tmp_path / "index", exact)
    working = setting.backends._make

    class Broken(ExactVectors):
        async def open(self, spec):
            raise IndexUnavailable("the engine is missing")

    setting.backends._make = lambda folder: Broken(Broken.Options(), folder=folder)
    await setting.index.open()
    vector = setting.journal.put(1)
    state = setting.index.state()
    assert (state.state, state.message) == ("failed", "the engine is missing")
    with pytest.raises(IndexUnavailable, match="the engine is missing"):
        await setting.search(vector, within_s=0.05)
    setting.backends._make = working
    assert (await setting.search(vector))[0].id == 1
    assert setting.index.state().state == "ready"
    await setting.index.destroy()


async def test_killed_worker_is_replaced_and_the_search_answered(edge_setting):
    setting = edge_setting
    await setting.index.open()
    vectors = [setting.journal.put(item_id) for item_id in range(150)]
    await setting.index.caught_up(150)
    searches = [asyncio.create_task(setting.search(vector)) for vector in vectors[:20]]
    await asyncio.sleep(0)
    os.kill(setting.backends.pid, signal.SIGKILL)
    found = await asyncio.gather(*searches)
    assert [matches[0].id for matches in found] == list(range(20))
    assert await setting.ids() == set(range(150))
    assert setting.restarts() == 1


async def test_idle_worker_that_is_killed_is_replaced_before_anybody_asks(edge_setting):
    setting = edge_setting
    await setting.index.open()
    setting.journal.put(1)
    await setting.index.caught_up(1)
    os.kill(setting.backends.pid, signal.SIGKILL)
    await until(lambda: len(setting.backends.made) == 2 and setting.index.state().state == "ready")


async def test_nothing_is_lost_when_workers_are_killed_during_writes(edge_setting):
    setting = edge_setting
    choose = random.Random(1)
    await setting.index.open()
    for _ in range(3):
        loop = asyncio.get_running_loop()
        loop.call_later(choose.random() * 0.1, _kill, setting.backends.pid)
        for step in range(60):
            item_id = choose.randrange(200)
            if choose.random() < 0.3:
                setting.journal.delete(item_id)
            else:
                setting.journal.put(item_id)
            setting.index.notify()
            if step % 10 == 0:
                await setting.index.caught_up(setting.journal.head())
            await asyncio.sleep(0)
        assert await setting.ids() == setting.journal.items.keys()
    for item_id, entry in setting.journal.items.items():
        match = (await setting.search(entry.vector, limit=1))[0]
        assert (match.id, round(match.score, 4)) == (item_id, 1.0)


def _kill(pid):
    os.kill(pid, signal.SIGKILL)


async def test_reopened_index_replays_only_what_was_not_synced(edge_setting):
    setting = edge_setting
    await setting.index.open()
    for item_id in range(150):
        setting.journal.put(item_id)
    await setting.index.caught_up(150)
    await setting.index.close()
    setting.journal.put(150)
    setting.journal.asked_from.clear()
    setting.make_index()
    await setting.index.open()
    assert await setting.ids() == set(range(151))
    assert min(setting.journal.asked_from) == 150


async def test_half_made_generation_of_an_earlier_run_is_deleted(edge_setting):
    setting = edge_setting
    (setting.folder / "gen-0042").mkdir(parents=True)
    await setting.index.open()
    setting.journal.put(1)
    assert await setting.ids() == {1}
    assert [path.name for path in setting.folder.glob("gen-*")] == ["gen-0043"]


async def test_searches_under_way_when_the_index_closes_are_answered_or_told(edge_setting):
    setting = edge_setting
    await setting.index.open()
    vectors = [setting.journal.put(item_id) for item_id in range(50)]
    await setting.index.caught_up(50)
    searches = [asyncio.create_task(setting.search(vector)) for vector in vectors]
    await asyncio.sleep(0)
    os.kill(setting.backends.pid, signal.SIGKILL)
    await setting.index.close()
    for result in await asyncio.gather(*searches, return_exceptions=True):
        assert isinstance(result, list | IndexUnavailable)


@pytest.mark.parametrize("reason", ["epoch", "ahead", "space", "deleted", "pointer"])
async def test_index_that_does_not_fit_the_database_is_built_anew(edge_setting, reason):
    setting = edge_setting
    await setting.index.open()
    for item_id in range(50):
        setting.journal.put(item_id)
    await setting.index.caught_up(50)
    await setting.index.close()
    spec = SPEC
    if reason == "epoch":
        setting.journal.epoch = "e2"
        del setting.journal.items[7]
    elif reason == "ahead":
        del setting.journal.entries[40:]
        setting.journal.items = {n: setting.journal.items[n] for n in range(40)}
    elif reason == "space":
        spec = CollectionSpec("things", "space-b", SIZE, fields={"by": "keyword"})
    elif reason == "deleted":
        os.rename(setting.folder, setting.folder.with_name("gone"))
    else:
        (setting.folder / "current").write_text("../../elsewhere")
    setting.make_index(spec)
    await setting.index.open()
    assert await setting.ids() == setting.journal.items.keys()
    assert setting.index.space == spec.space


async def test_folder_deleted_under_a_running_index_is_built_anew(edge_setting):
    setting = edge_setting
    setting.make_index(options=IndexOptions(flush_changes=1))
    await setting.index.open()
    setting.journal.put(1)
    await setting.index.caught_up(1)
    os.rename(setting.folder, setting.folder.with_name("gone"))
    setting.journal.put(2)
    assert await setting.ids() == {1, 2}
    await until(lambda: list(setting.folder.glob("gen-*/applied.json")))
    setting.journal.put(3)
    assert await setting.ids() == {1, 2, 3}


async def test_index_in_use_when_the_machine_went_down_is_searched_and_rebuilt(
    edge_setting, caplog
):
    setting = edge_setting
    await setting.index.open()
    for item_id in range(50):
        setting.journal.put(item_id)
    await setting.index.caught_up(50)
    await setting.backends.made[-1].flush()
    os.kill(setting.backends.pid, signal.SIGKILL)
    await setting.index.close()
    (setting.folder / "gen-0001" / "in-use").write_text("an earlier boot")
    setting.make_index()
    await setting.index.open()
    assert await setting.ids() == set(range(50))
    await until(lambda: (setting.folder / "current").read_text() == "gen-0002")
    assert await setting.ids() == set(range(50))
    assert "went down" in caplog.text
    assert not (await setting.backends.made[-1].status()).doubtful


async def test_many_scanned_points_are_put_into_the_graph_while_searches_go_on(tmp_path):
    size = 1024
    quick = EdgeVectors.Options(m=8, ef_construct=32)
    setting = Setting(tmp_path / "index", lambda folder: EdgeVectors(quick, folder=folder))
    setting.journal = Journal(size=size)
    setting.make_index(
        CollectionSpec("things", "s", size, fields={"by": "keyword"}), IndexOptions()
    )
    count = (17 << 20) // (4 * size)
    for item_id in range(count):
        setting.journal.put(item_id)
    await setting.index.open()
    await setting.index.caught_up(count)
    assert setting.index.state().indexed == 0
    async with asyncio.timeout(60):
        while setting.index.state().indexed == 0:
            vector = setting.journal.put(count)
            assert (await setting.search(vector))[0].id == count
            await asyncio.sleep(0.05)
    vector = setting.journal.items[17].vector
    assert (await setting.search(vector))[0].id == 17
    assert setting.index.state().points == count + 1
    await until(lambda: setting.index.state().state == "ready")
    assert len(list(setting.folder.glob("gen-*"))) == 1
    await setting.index.destroy()
