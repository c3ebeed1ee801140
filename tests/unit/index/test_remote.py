"""An index on a server: lost, emptied, restored, shared, it holds what the log says."""

import asyncio
import logging
import shutil

import msgspec
import numpy as np
import pytest

from index.journal import SIZE, Journal
from qdrant_stand_in import StandIn
from skerry.errors import IndexUnavailable
from skerry.index import follower
from skerry.index.view import Index, IndexOptions
from skerry.metrics import Metrics
from skerry.vectors.base import CollectionSpec
from skerry.vectors.qdrant import QdrantVectors
from skerry.vectors.qdrant_record import Claim, read_claim

SPEC = CollectionSpec("things", "space-a", SIZE, fields={"by": "keyword"})
KEY = "a-very-secret-key"


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    server = StandIn(tmp_path_factory.mktemp("qdrant") / "storage", api_key=KEY)
    yield server
    server.kill()


@pytest.fixture
def server(shared_server):
    shared_server.reset()
    return shared_server


class Node:
    """A log, and its index on the server."""

    def __init__(self, server, folder, *, epoch="e1", **options):
        self.server, self.folder = server, folder
        self.journal = Journal(epoch=epoch)
        self.options = {"url": server.url, "api_key": KEY, "check_s": 0.1, **options}

    async def open(self):
        self.index = Index(
            SPEC,
            feed=self.journal,
            factory=lambda folder: QdrantVectors(
                QdrantVectors.Options(**self.options), folder=folder
            ),
            folder=self.folder,
            metrics=Metrics(),
            options=IndexOptions(batch=20, flush_changes=50),
        )
        await self.index.open()
        return self

    async def put(self, ids):
        for item in ids:
            self.journal.put(item)
        self.index.notify()
        await self.index.caught_up(self.journal.head())

    async def ids(self, *, within_s=20.0):
        deadline = asyncio.get_running_loop().time() + within_s
        found = await self.index.search(np.ones(SIZE), limit=1000, deadline=deadline)
        return {match.id for match in found}

    async def agrees(self):
        """Until the index holds what the log says, and says it is well."""
        await until(lambda: self.index.state().state == "ready")
        async with asyncio.timeout(60):
            while await self.ids() != self.journal.items.keys():  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.05)
        for item, entry in self.journal.items.items():
            deadline = asyncio.get_running_loop().time() + 20
            found = await self.index.search(entry.vector, limit=1, deadline=deadline)
            assert (found[0].id, round(found[0].score, 4)) == (item, 1.0)

    def claim(self) -> Claim:
        return read_claim(self.folder / (self.folder / "current").read_text())


@pytest.fixture
async def make(server, tmp_path):
    nodes = []

    def make(name="node", **options):
        nodes.append(Node(server, tmp_path / name, **options))
        return nodes[-1]

    yield make
    for node in nodes:
        await node.index.close()


@pytest.fixture
async def node(make):
    node = await make().open()
    await node.put(range(60))
    # A flush under way would notice by itself what a test is about to do.
    await until(lambda: node.claim().applied_seq == 60)
    return node


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what it looks at sets no event
            await asyncio.sleep(0.02)


async def test_lost_and_emptied_server_is_filled_again_when_it_is_back(node, server):
    server.kill()
    server.empty()
    await until(lambda: node.index.state().state == "failed")
    assert "does not answer" in node.index.state().message
    node.journal.put(60)
    node.journal.delete(3)
    server.start()
    await node.agrees()


async def test_server_that_was_only_away_is_taken_up_where_it_stands(node, server):
    before = node.claim().collection
    server.kill()
    node.journal.put(60)
    await until(lambda: node.index.state().state == "failed")
    node.journal.asked_from.clear()
    server.start()
    await node.agrees()
    assert node.claim().collection == before
    assert min(node.journal.asked_from) == 60


async def test_unreachable_server_at_the_start_is_told_and_waited_for(make, server, monkeypatch):
    monkeypatch.setattr(follower, "PATIENCE_S", 0.2)
    server.kill()
    node = await make().open()
    node.journal.put(1)
    assert node.index.state().state == "failed"
    await until(lambda: node.index._serving.outage is not None)
    with pytest.raises(IndexUnavailable, match=r"127\.0\.0\.1:\d+ does not answer") as refused:
        await node.ids(within_s=1e6)  # at once: nobody waits for a server that is down
    assert "url" in refused.value.remedy
    loop = asyncio.get_running_loop()
    for item in range(2, 20_000):
        node.journal.entries.append(item)
    await node.index.ready_for_writes(deadline=loop.time())  # rows do not need it
    del node.journal.entries[1:]
    server.start()
    await node.agrees()


@pytest.mark.parametrize("how", ["collection", "points", "record"])
async def test_what_others_delete_under_a_running_node_is_noticed_unasked(node, server, how):
    name = node.claim().collection
    if how == "collection":
        server.call("DELETE", name)
    else:
        found = [] if how == "record" else [*range(60)]
        gone = [*found, "5ce77714-0000-4000-8000-000000000000"]
        operations = [{"delete": {"points": gone}}]
        server.call("POST", f"{name}/points/batch", operations=operations)
    await until(lambda: node.claim().collection != name)
    await node.agrees()
    assert server.collections() == {node.claim().collection}


async def test_points_that_others_deleted_while_it_was_stopped_are_put_back(node, server, caplog):
    await node.index.close()
    operations = [{"delete": {"points": [7, 8]}}]
    server.call("POST", f"{node.claim().collection}/points/batch", operations=operations)
    await node.open()
    await node.agrees()
    assert "58 points, not the 60" in str([record.fields for record in caplog.records])


@pytest.mark.parametrize("when", ["running", "stopped"])
async def test_old_snapshot_is_not_trusted(node, server, tmp_path, when):
    await node.index.close()
    server.kill()
    shutil.copytree(server.folder, tmp_path / "snapshot")
    server.start()
    await node.open()
    await node.put(range(40, 90))
    node.journal.delete(5)
    await node.put([90])
    if when == "stopped":
        await node.index.close()
    server.kill()
    server.empty()
    shutil.copytree(tmp_path / "snapshot", server.folder)
    server.start()
    if when == "stopped":
        await node.open()
    await node.agrees()


async def test_two_nodes_on_one_server_keep_apart(node, make, server):
    other = await make("other", epoch="e2").open()
    await other.put(range(100, 110))
    await node.agrees()
    await other.agrees()
    await other.index.destroy()
    assert server.collections() == {node.claim().collection}
    await node.agrees()


async def test_copy_of_a_nodes_folder_gets_a_collection_of_its_own(node, make, server, tmp_path):
    await node.index.close()
    shutil.copytree(node.folder, tmp_path / "copy")
    copy = make("copy")
    copy.journal.items = dict(node.journal.items)
    copy.journal.entries = [*node.journal.entries]
    copy.journal.random = np.random.default_rng(1)
    await node.open()
    await copy.open()
    await asyncio.gather(node.put([100, 101, 1]), copy.put([200, 2]))
    await until(lambda: node.claim().collection != copy.claim().collection)
    await node.agrees()
    await copy.agrees()
    assert server.collections() == {node.claim().collection, copy.claim().collection}


async def test_rebuild_takes_over_and_deletes_the_old_collection(node, server):
    before = node.claim().collection
    await node.index.rebuild()
    await node.agrees()
    assert node.claim().collection != before
    assert server.collections() == {node.claim().collection}


async def test_half_filled_collection_of_an_earlier_run_is_deleted(node, server):
    await node.index.close()
    name, half = node.claim().collection, node.folder / "gen-0007"
    half.mkdir()
    (half / "qdrant.json").write_bytes(msgspec.json.encode(Claim("half-filled", "token")))
    server.call("PUT", "half-filled", vectors={"v": {"size": 2, "distance": "Dot"}})
    await node.open()
    await until(lambda: server.collections() == {name})
    assert not half.exists()


async def test_collection_that_cannot_be_deleted_now_is_deleted_later(node, server, caplog):
    backend = QdrantVectors(QdrantVectors.Options(**node.options), folder=node.folder / "gen-0009")
    await backend.open(SPEC)
    await backend.close()
    assert len(server.collections()) == 2
    server.kill()
    unreachable = QdrantVectors(
        QdrantVectors.Options(**node.options), folder=node.folder / "gen-0009"
    )
    with pytest.raises(IndexUnavailable):
        await unreachable.destroy()
    assert (node.folder / "gen-0009").exists()
    await node.index.close()
    server.start()
    await node.open()
    await until(lambda: server.collections() == {node.claim().collection})


async def test_wrong_key_is_told_and_no_key_is_ever_logged(make, server, caplog):
    caplog.set_level(logging.DEBUG)
    node = await make(api_key="another-secret").open()
    node.journal.put(1)
    assert "refuses the API key" in node.index.state().message
    await node.index.close()
    node.options["api_key"] = KEY
    await node.open()
    await node.agrees()
    told = caplog.text + str([vars(record) for record in caplog.records])
    assert KEY not in told
    assert "another-secret" not in told
