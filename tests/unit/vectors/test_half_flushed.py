"""A flush that ended half way: the engine skips operations older than a point, without a word."""

import numpy as np
import pytest

from skerry.vectors import shard as shard_module
from skerry.vectors.base import CollectionSpec
from skerry.vectors.shard import open_shard
from skerry.vectors.wire import Apply, Search, Tuning

SPEC = CollectionSpec("things", "s", 4)
TUNING = Tuning(m=16, ef_construct=100, ef=64, slice_points=1000)


class Killed(Exception):
    pass


def upsert(ids, seq):
    vectors = np.array([[1.0, n, 0.5, 2.0] for n in ids], np.float32)
    return Apply(
        seq=seq, ids=[*ids], vectors=vectors.tobytes(), payloads=[{}] * len(ids), deletes=[]
    )


def delete(ids, seq):
    return Apply(seq=seq, ids=[], vectors=b"", payloads=[], deletes=[*ids])


def versions(folder):
    return {path: path.read_bytes() for path in folder.rglob("segment.json")}


@pytest.fixture
def half_flushed(tmp_path, monkeypatch):
    """Points 10 to 29 are on disk, with versions above their segment's; the record is at 1."""
    folder = tmp_path / "c"
    shard, _ = open_shard(folder, SPEC, TUNING)
    shard.apply(upsert(range(10), seq=1))
    shard.flush()
    before = versions(folder)
    for seq in range(2, 22):
        shard.apply(upsert(range(10, 30), seq))

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(shard_module, "write_record", killed)
        shard.flush()
    del shard  # flushes
    # The engine writes a segment's version last.
    for path, content in before.items():
        path.write_bytes(content)
    return folder


def test_deletes_after_a_half_flush_are_not_skipped(half_flushed):
    shard, discarded = open_shard(half_flushed, SPEC, TUNING)
    assert (discarded, shard.status().applied_seq, shard.status().points) == ("", 1, 30)
    shard.apply(delete(range(5, 30), seq=22))
    assert shard.status().points == 5
    shard.close()
    assert open_shard(half_flushed, SPEC, TUNING)[0].status().points == 5


def test_upserts_after_a_half_flush_are_not_skipped(half_flushed):
    shard, _ = open_shard(half_flushed, SPEC, TUNING)
    vector = np.array([1, 0, 0, 0], np.float32).tobytes()
    moved = Apply(seq=22, ids=[20], vectors=vector, payloads=[{}], deletes=[])
    shard.apply(moved)
    found = shard.search(Search(moved.vectors, limit=1, filter=None, thorough=False))
    assert (found[0].id, round(found[0].score, 4)) == (20, 1.0)


def test_a_mark_that_cannot_be_read_makes_a_new_collection(half_flushed):
    (half_flushed / "flushing").write_bytes(b"\0")
    shard, discarded = open_shard(half_flushed, SPEC, TUNING)
    assert "flushing" in discarded
    assert shard.status().points == 0
