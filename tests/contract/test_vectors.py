"""One suite over the vector backends: what the engine finds is what the oracle finds."""

import asyncio
import os
import random
import signal

import numpy as np
import pytest

from qdrant_stand_in import StandIn
from skerry.errors import BadRequest, IndexUnavailable, SpaceMismatch, Unprocessable
from skerry.vectors.base import (
    MAX_LIMIT,
    Changes,
    CollectionSpec,
    Condition,
    Filter,
    Point,
    Range,
)
from skerry.vectors.edge import EdgeVectors
from skerry.vectors.exact import ExactVectors
from skerry.vectors.qdrant import QdrantVectors

SIZE = 16
SPEC = CollectionSpec(
    name="things",
    space="space-a",
    size=SIZE,
    fields={
        "by": "keyword",
        "tags": "keyword",
        "n": "integer",
        "price": "float",
        "ok": "bool",
    },
    epoch="e1",
)


def make_edge(folder):
    # Small slices, so that a few hundred points are searched in many.
    return EdgeVectors(EdgeVectors.Options(slice_bytes=40 * 4 * SIZE), folder=folder)


def make_exact(folder):
    return ExactVectors(ExactVectors.Options(), folder=folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = StandIn(tmp_path_factory.mktemp("qdrant") / "storage")
    yield server
    server.kill()


@pytest.fixture
def make_qdrant(server):
    return lambda folder: QdrantVectors(QdrantVectors.Options(url=server.url), folder=folder)


@pytest.fixture(params=["edge", "exact", "qdrant"])
def make(request):
    if request.param == "qdrant":
        return request.getfixturevalue("make_qdrant")
    return {"edge": make_edge, "exact": make_exact}[request.param]


@pytest.fixture
async def index(make, tmp_path):
    index = make(tmp_path / "collection")
    await index.open(SPEC)
    yield index
    await index.destroy()


@pytest.fixture
async def oracle(tmp_path):
    oracle = make_exact(tmp_path / "oracle")
    await oracle.open(SPEC)
    return oracle


class Truth:
    """Random changes, and the state they lead to."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.numpy = np.random.default_rng(seed)
        self.points = {}
        self.seq = 0
        self.log = []

    def vector(self):
        return self.numpy.standard_normal(SIZE).astype(np.float32)

    def payload(self):
        pick = self.random
        payload = {
            "by": pick.choice("abcde"),
            "tags": pick.sample(["x=1", "x=2", 'y="1"', "z=true", "w=0.5"], pick.randint(0, 3)),
            "n": pick.randint(-20, 20),
            "price": pick.choice([0.5, 1.0, pick.random() * 10]),
            "ok": pick.random() < 0.5,
        }
        for name in pick.sample(list(payload), pick.choice([0, 0, 1, 2])):
            del payload[name]
        return payload

    def changes(self, *, upserts, deletes=0, ids=500):
        chosen = self.random.sample(range(ids), upserts + deletes)
        puts = [Point(number, self.vector(), self.payload()) for number in chosen[:upserts]]
        gone = chosen[upserts:]
        self.seq += upserts + deletes
        self.points.update({point.id: point for point in puts})
        for number in gone:
            self.points.pop(number, None)
        changes = Changes(self.seq, puts, gone)
        self.log.append(changes)
        return changes

    def condition(self):
        pick = self.random
        number = pick.randint(-20, 20)
        return pick.choice(
            [
                Condition("by", value=pick.choice("abcz")),
                Condition("by", any=tuple(pick.sample("abcdez", pick.randint(0, 3)))),
                Condition("by", except_=tuple(pick.sample("abcde", pick.randint(0, 4)))),
                Condition("tags", value=pick.choice(["x=1", 'y="1"', "x=9"])),
                Condition("tags", any=("x=1", "w=0.5")),
                Condition("tags", except_=("x=1", "x=2")),
                Condition("n", value=number),
                Condition("n", any=(number, number + 1, 3)),
                Condition("n", except_=(number, 0)),
                Condition("n", range=Range(gte=number, lt=number + 9)),
                Condition("n", range=Range(gt=-3), except_=(5, 6)),
                Condition("price", range=Range(gt=pick.random() * 8)),
                Condition("price", range=Range(lte=1.0)),
                Condition("ok", value=pick.random() < 0.5),
                # A field without an index.
                Condition("other", value="a"),
            ]
        )

    def filter(self, depth=0):
        def some(chance):
            if self.random.random() > chance:
                return ()
            count = self.random.randint(1, 3)
            return tuple(
                self.filter(depth + 1)
                if depth < 2 and self.random.random() < 0.2
                else self.condition()
                for _ in range(count)
            )

        return Filter(must=some(0.7), should=some(0.4), must_not=some(0.3))


def assert_same(found, wanted):
    """The same points; where scores are equal but for rounding, in any order."""
    assert np.allclose([m.score for m in found], [m.score for m in wanted], atol=1e-5)
    differing = {m.id for m in found} ^ {m.id for m in wanted}
    edge = wanted[-1].score if wanted else 0
    scores = {m.id: m.score for m in [*found, *wanted]}
    assert all(abs(scores[number] - edge) < 1e-5 for number in differing)


@pytest.mark.parametrize("seed", [1, 2])
async def test_any_filter_finds_what_the_oracle_finds(index, oracle, seed):
    truth = Truth(seed)
    for _ in range(8):
        changes = truth.changes(upserts=60, deletes=15)
        await index.apply(changes)
        await oracle.apply(changes)
    for _ in range(120):
        query, wanted = truth.vector(), truth.filter()
        limit = truth.random.choice([1, 10, MAX_LIMIT])
        exact = truth.random.random() < 0.5
        found = await index.search(query, limit=limit, filter=wanted, exact=exact)
        assert_same(found, await oracle.search(query, limit=limit, filter=wanted))
    assert (await index.status()).points == len(truth.points)


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid"])
async def test_scores_are_those_of_the_distance_nearest_first(make, tmp_path, distance):
    index = make(tmp_path / "c")
    await index.open(CollectionSpec("c", "s", 2, distance=distance))
    vectors = {1: [1.0, 0.0], 2: [3.0, 4.0], 3: [-2.0, 0.0], 4: [0.0, 0.0]}
    points = [Point(key, np.array(value, np.float32), {}) for key, value in vectors.items()]
    await index.apply(Changes(4, points, []))
    wanted = {
        "cosine": [(1, 1.0), (2, 0.6), (4, 0.0), (3, -1.0)],
        "dot": [(2, 6.0), (1, 2.0), (4, 0.0), (3, -4.0)],
        "euclid": [(1, 1.0), (4, 2.0), (3, 4.0), (2, 17**0.5)],
    }[distance]
    for exact in (False, True):
        found = await index.search(np.array([2, 0], np.float32), limit=4, exact=exact)
        assert [match.id for match in found] == [key for key, _ in wanted]
        assert np.allclose([m.score for m in found], [s for _, s in wanted], atol=1e-5)
    await index.destroy()


async def test_second_upsert_replaces_vector_and_payload(index):
    first, second = np.eye(2, SIZE, dtype=np.float32)
    await index.apply(Changes(1, [Point(7, first, {"by": "ann"})], []))
    await index.apply(Changes(2, [Point(7, second, {"by": "bob"})], []))
    found = await index.search(second, limit=5)
    assert [(m.id, round(m.score, 5)) for m in found] == [(7, 1.0)]
    ann = Filter(must=(Condition("by", value="ann"),))
    assert await index.search(second, limit=5, filter=ann) == []
    assert (await index.status()).points == 1


async def test_deleted_point_is_not_found_and_deleting_again_is_harmless(index):
    truth = Truth(3)
    await index.apply(truth.changes(upserts=20, ids=20))
    for seq in (30, 31):
        status = await index.apply(Changes(seq, [], [5, 999]))
        assert (status.points, status.applied_seq) == (19, seq)
    found = await index.search(truth.vector(), limit=100)
    assert {match.id for match in found} == set(range(20)) - {5}


async def test_true_is_not_one(index):
    vector = np.ones(SIZE, np.float32)
    await index.apply(
        Changes(2, [Point(1, vector, {"ok": True}), Point(2, vector, {"ok": False})], [])
    )
    found = await index.search(vector, limit=5, filter=Filter(must=(Condition("ok", value=True),)))
    assert [match.id for match in found] == [1]


@pytest.mark.parametrize("name", ["lang", "a b", "a.b", "作者[]"])
async def test_field_with_a_dot_is_one_name_and_no_path(index, name):
    vector, key = np.ones(SIZE, np.float32), f"metadata.{name}"
    payloads = [{key: 3}, {key: [3, 4]}, {key: 3.0}, {key: "3"}, {"metadata": {name: 3}}]
    points = [Point(number, vector, payload) for number, payload in enumerate(payloads)]
    await index.apply(Changes(1, points, []))
    for condition, wanted in (
        (Condition(key, value=3), {0, 1}),
        (Condition(key, range=Range(gte=3)), {0, 1, 2}),
        (Condition(key, except_=()), {0, 1, 2, 3}),
    ):
        found = await index.search(vector, limit=9, filter=Filter(must=(condition,)))
        assert {match.id for match in found} == wanted, condition


async def test_vector_with_nan_infinity_or_of_another_size_is_refused_whole(index):
    good = np.ones(SIZE, np.float32)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = good.copy()
        spoilt[3] = bad
        with pytest.raises(Unprocessable, match="NaN"):
            await index.apply(Changes(9, [Point(1, good, {}), Point(2, spoilt, {})], []))
        with pytest.raises(Unprocessable, match="NaN"):
            await index.search(spoilt, limit=1)
    short = np.ones(SIZE - 1, np.float32)
    with pytest.raises(Unprocessable, match=f"{SIZE - 1} values"):
        await index.apply(Changes(1, [Point(1, short, {})], []))
    with pytest.raises(Unprocessable):
        await index.search(short, limit=1)
    status = await index.status()
    assert (status.points, status.applied_seq) == (0, 0)


async def test_limit_out_of_range_and_a_huge_filter_are_refused(index):
    for limit in (0, -1, MAX_LIMIT + 1):
        with pytest.raises(BadRequest, match="limit"):
            await index.search(np.ones(SIZE, np.float32), limit=limit)
    huge = Filter(must=tuple(Condition("n", value=n) for n in range(300)))
    with pytest.raises(BadRequest, match="256"):
        await index.search(np.ones(SIZE, np.float32), limit=1, filter=huge)


async def test_reopened_and_replayed_it_holds_the_same(make, tmp_path, oracle):
    truth = Truth(4)
    index = make(tmp_path / "c")
    await index.open(SPEC)
    for _ in range(5):
        await index.apply(truth.changes(upserts=40, deletes=10))
    await index.close()
    with pytest.raises(IndexUnavailable):
        await index.search(truth.vector(), limit=1)
    again = make(tmp_path / "c")
    status = await again.open(SPEC)
    await replay(truth, again, after=status.applied_seq)
    await replay(truth, oracle, after=0)
    await assert_same_content(again, oracle, truth)
    await again.destroy()
    assert not (tmp_path / "c").exists()


async def test_close_ends_what_waits_for_the_engine_to_go(index):
    waiting = asyncio.ensure_future(index.gone())
    await asyncio.sleep(0)
    assert not waiting.done()
    await index.close()
    await asyncio.wait_for(waiting, timeout=5)


@pytest.fixture
async def edge(tmp_path):
    index = make_edge(tmp_path / "edge")
    await index.open(SPEC)
    yield index
    await index.destroy()


async def test_edge_comes_back_as_flushed(edge, tmp_path):
    truth = Truth(5)
    await edge.apply(truth.changes(upserts=50))
    await edge.close()
    again = make_edge(tmp_path / "edge")
    status = await again.open(SPEC)
    assert (status.points, status.applied_seq) == (50, truth.seq)
    await again.close()


@pytest.mark.parametrize("change", [{"space": "space-b"}, {"size": SIZE + 1}, {"distance": "dot"}])
async def test_edge_refuses_a_collection_of_other_vectors(edge, tmp_path, change):
    await edge.close()
    fields = {"name": "things", "space": "space-a", "size": SIZE, "epoch": "e1"} | change
    other = make_edge(tmp_path / "edge")
    with pytest.raises(SpaceMismatch, match=next(iter(change))):
        await other.open(CollectionSpec(fields=SPEC.fields, **fields))
    assert (await make_and_open(tmp_path / "edge")).applied_seq == 0


@pytest.mark.parametrize("change", [{"epoch": "e2"}, {"fields": {"by": "keyword"}}])
async def test_edge_starts_empty_for_another_database_or_other_fields(
    edge, tmp_path, change, caplog
):
    await edge.apply(Truth(6).changes(upserts=10))
    await edge.close()
    fields = {"fields": SPEC.fields, "epoch": "e1"} | change
    other = make_edge(tmp_path / "edge")
    status = await other.open(CollectionSpec("things", "space-a", SIZE, **fields))
    assert (status.points, status.applied_seq) == (0, 0)
    assert "starts empty" in caplog.text
    await other.destroy()


@pytest.mark.parametrize("damage", ["record", "engine", "everything"])
async def test_edge_starts_empty_when_its_files_are_damaged(edge, tmp_path, damage, caplog):
    await edge.apply(Truth(7).changes(upserts=10))
    await edge.close()
    folder = tmp_path / "edge"
    for path in folder.rglob("*"):
        if path.is_file() and (damage == "everything" or damage in ENGINE_OR_RECORD[path.suffix]):
            path.write_bytes(b"\xff" * 64)
    status = await make_and_open(folder)
    assert (status.points, status.applied_seq) == (0, 0)
    assert "starts empty" in caplog.text


class _Kinds(dict):
    def __missing__(self, suffix):
        return "engine"


ENGINE_OR_RECORD = _Kinds({".json": "record"})


async def make_and_open(folder):
    """Open as the index does: again after a crash. Closes; gives the status."""
    for _ in range(4):
        index = make_edge(folder)
        try:
            status = await index.open(SPEC)
        except IndexUnavailable:
            continue
        await index.close()
        return status
    raise AssertionError("it never opened")


async def test_edge_raises_index_unavailable_once_its_worker_is_killed(edge):
    searches = [
        asyncio.create_task(edge.search(np.ones(SIZE, np.float32), limit=1)) for _ in range(5)
    ]
    os.kill(edge.pid, signal.SIGKILL)
    results = await asyncio.gather(*searches, return_exceptions=True)
    assert all(isinstance(result, (IndexUnavailable, list)) for result in results)
    await asyncio.wait_for(edge.gone(), timeout=5)
    with pytest.raises(IndexUnavailable, match="SIGKILL"):
        await edge.search(np.ones(SIZE, np.float32), limit=1)


async def test_edge_that_hangs_is_killed(tmp_path):
    index = EdgeVectors(EdgeVectors.Options(hang_s=0.3), folder=tmp_path / "edge")
    await index.open(SPEC)
    os.kill(index.pid, signal.SIGSTOP)
    with pytest.raises(IndexUnavailable, match="did not answer"):
        await index.search(np.ones(SIZE, np.float32), limit=1)
    await index.destroy()


async def kill_and_replay(folder, *, rounds, seed):
    truth, oracle = Truth(seed), make_exact(folder)
    await oracle.open(SPEC)
    for _ in range(rounds):
        index = make_edge(folder / "edge")
        status = await index.open(SPEC)
        await replay(truth, index, after=status.applied_seq)
        killer = asyncio.get_running_loop().call_later(
            truth.random.random() * 0.15, os.kill, index.pid, signal.SIGKILL
        )
        try:
            while True:
                changes = truth.changes(upserts=30, deletes=10)
                await oracle.apply(changes)
                await index.apply(changes)
                if truth.random.random() < 0.2:
                    await index.flush()
        except IndexUnavailable:
            killer.cancel()
        await index.close()
    index = make_edge(folder / "edge")
    status = await index.open(SPEC)
    await replay(truth, index, after=status.applied_seq)
    await assert_same_content(index, oracle, truth)
    await index.destroy()


async def test_edge_killed_at_random_and_replayed_equals_the_oracle(tmp_path):
    await kill_and_replay(tmp_path, rounds=4, seed=8)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_edge_killed_a_hundred_times_equals_the_oracle(tmp_path):
    if not os.environ.get("SKERRY_LONG_TESTS"):
        pytest.skip("a long proof: set SKERRY_LONG_TESTS=1")
    await kill_and_replay(tmp_path, rounds=100, seed=9)


async def replay(truth, index, *, after):
    """The log after a seq, as a feed would give it: each item once, in its latest state."""
    touched = set()
    for changes in truth.log:
        if changes.seq > after:
            touched |= {point.id for point in changes.upserts} | set(changes.deletes)
    upserts = [truth.points[key] for key in touched if key in truth.points]
    deletes = [key for key in touched if key not in truth.points]
    await index.apply(Changes(truth.seq, upserts, deletes))


async def assert_same_content(index, oracle, truth):
    assert (await index.status()).points == len(truth.points)
    for wanted in (None, Filter(must=(Condition("by", value="a"),))):
        query = truth.vector()
        found = await index.search(query, limit=MAX_LIMIT, filter=wanted, exact=True)
        assert_same(found, await oracle.search(query, limit=MAX_LIMIT, filter=wanted))
        assert {m.id for m in found} <= truth.points.keys()
