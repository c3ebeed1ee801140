"""How the engine keeps vectors: as bytes that the originals rescore, or as they are."""

import numpy as np
import pytest

from skerry.vectors import shard as shard_module
from skerry.vectors.base import CollectionSpec
from skerry.vectors.shard import open_shard
from skerry.vectors.wire import Apply, Search, Tuning

SIZE, COUNT, QUERIES, LIMIT = 32, 3000, 50, 10
SPEC = CollectionSpec("things", "s", SIZE)
KINDS = ("scalar", "none")


@pytest.fixture(autouse=True)
def small_graphs(monkeypatch):
    """So that a few thousand points have a graph, and are not scanned instead."""
    monkeypatch.setattr(shard_module, "GRAPH_KB", 100)
    monkeypatch.setattr(shard_module, "SCAN_KB", 100)


def tuning(kind):
    return Tuning(m=16, ef_construct=100, ef=96, slice_points=COUNT, quantization=kind)


def built(folder, kind):
    shard, _ = open_shard(folder, SPEC, tuning(kind))
    vectors = np.random.default_rng(0).standard_normal((COUNT, SIZE)).astype(np.float32)
    shard.apply(Apply(COUNT, list(range(COUNT)), vectors.tobytes(), [{}] * COUNT, []))
    shard.build()
    return shard


def search(shard, vector, *, exact):
    return shard.search(Search(vector.tobytes(), LIMIT, None, thorough=exact))


def quantized_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("quantized.data"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_finds_what_an_exact_search_finds(tmp_path, kind):
    shard = built(tmp_path / "c", kind)
    assert shard.status().indexed == COUNT
    found = 0
    for vector in np.random.default_rng(1).standard_normal((QUERIES, SIZE)).astype(np.float32):
        near = {match.id for match in search(shard, vector, exact=False)}
        found += len(near & {match.id for match in search(shard, vector, exact=True)})
    assert found >= 0.97 * QUERIES * LIMIT
    shard.close()


def test_quantised_scores_are_those_of_the_originals(tmp_path):
    shard = built(tmp_path / "c", "scalar")
    query = np.random.default_rng(2).standard_normal(SIZE).astype(np.float32)
    exact = {match.id: match.score for match in search(shard, query, exact=True)}
    near = {match.id: match.score for match in search(shard, query, exact=False)}
    both = exact.keys() & near.keys()
    assert both
    assert {point: near[point] for point in both} == {point: exact[point] for point in both}
    shard.close()


def test_scalar_keeps_a_byte_a_value_and_none_keeps_nothing_more(tmp_path):
    for kind in KINDS:
        built(tmp_path / kind, kind).close()
    # Each vector has an offset of its own beside its bytes.
    assert quantized_bytes(tmp_path / "scalar") == COUNT * (SIZE + 4)
    assert quantized_bytes(tmp_path / "none") == 0


def test_another_quantization_starts_from_the_log_again(tmp_path):
    built(tmp_path / "c", "scalar").close()
    kept, discarded = open_shard(tmp_path / "c", SPEC, tuning("scalar"))
    assert (kept.status().points, discarded) == (COUNT, "")
    kept.close()
    anew, discarded = open_shard(tmp_path / "c", SPEC, tuning("none"))
    assert (anew.status().points, discarded) == (0, "its vectors have quantization 'scalar'")
    anew.close()
    again, discarded = open_shard(tmp_path / "c", SPEC, tuning("none"))
    assert discarded == ""
    again.close()
