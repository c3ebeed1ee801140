"""Filters over fields that no index was announced for."""

import random

import numpy as np
import pytest

from skerry.vectors.base import CollectionSpec, Condition, Filter, Range
from skerry.vectors.filters import holds
from skerry.vectors.pairs import pair, pairs_of, reads_payloads
from skerry.vectors.shard import open_shard
from skerry.vectors.wire import Apply, Search, Tuning

SIZE, COUNT = 4, 400
SPEC = CollectionSpec("things", "s", SIZE, fields={"known": "keyword"})
TUNING = Tuning(m=16, ef_construct=100, ef=64, slice_points=1000)
VALUES = ("x", "1", 1, 0, -3, True, False, 1.0, 0.5, 1 << 60, "naïve", "x" * 500)


def payload(pick):
    """Any name may be there, with one value or several of any kind."""
    names = pick.sample(["known", "a", "b", "metadata.a b", "metadata.a.b"], pick.randint(0, 5))
    return {
        name: pick.choice("xyz")
        if name == "known"
        else pick.choice([pick.choice(VALUES), pick.sample(VALUES, 3)])
        for name in names
    }


def condition(pick):
    name = pick.choice(["a", "b", "metadata.a b", "metadata.a.b", "absent"])
    asked = [value for value in VALUES if not isinstance(value, float)]
    texts = [value for value in asked if isinstance(value, str)]
    return pick.choice(
        [
            Condition(name, value=pick.choice(asked)),
            Condition(name, any=tuple(pick.sample(texts, 2))),
            Condition(name, any=(1, -3)),
            Condition(name, value=pick.choice(asked), range=Range(gte=0)),
            Condition("known", value="x"),
        ]
    )


@pytest.fixture(scope="module")
def points():
    pick = random.Random(3)
    return [payload(pick) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def shard(points, tmp_path_factory):
    shard, _ = open_shard(tmp_path_factory.mktemp("pairs") / "c", SPEC, TUNING)
    vectors = np.random.default_rng(0).standard_normal((COUNT, SIZE)).astype(np.float32)
    shard.apply(Apply(COUNT, list(range(COUNT)), vectors.tobytes(), points, []))
    yield shard
    shard.close()


@pytest.mark.parametrize("seed", range(60))
def test_the_engine_finds_by_pairs_what_the_payloads_say(shard, points, seed):
    pick = random.Random(seed)
    wanted = Filter(
        must=tuple(condition(pick) for _ in range(pick.randint(0, 2))),
        should=tuple(condition(pick) for _ in range(pick.randint(0, 2))),
        must_not=tuple(condition(pick) for _ in range(pick.randint(0, 1))),
    )
    query = np.ones(SIZE, np.float32)
    found = shard.search(Search(query.tobytes(), COUNT, wanted, thorough=False))
    assert {match.id for match in found} == {
        number for number, payload in enumerate(points) if holds(wanted, payload)
    }


def test_pairs_tell_types_names_and_values_apart():
    said = [("a", 1), ("a", True), ("a", "1"), ("a", "true"), ("b", 1), ("a1", ""), ("a", "1,")]
    assert len({pair(name, value) for name, value in said}) == len(said)


def test_fields_with_an_index_and_fractions_are_in_no_pair():
    assert pairs_of({"known": "x", "a": 0.5, "b": [1, 0.5, "y"]}, {"known"}) == [
        pair("b", 1),
        pair("b", "y"),
    ]


@pytest.mark.parametrize(
    ("item", "is_read"),
    [
        (Condition("a", value=1), False),
        (Condition("a", any=("x", "y")), False),
        (Condition("a", range=Range(gte=1)), True),
        (Condition("a", except_=("x",)), True),
        (Condition("known", except_=("x",)), False),
        (Filter(should=(Condition("a", value=1), Condition("b", range=Range(lt=1)))), True),
    ],
)
def test_only_what_no_index_knows_reads_payloads(item, is_read):
    assert reads_payloads(Filter(must_not=(item,)), {"known"}) is is_read
