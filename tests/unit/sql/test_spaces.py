import pytest

from skerry.errors import Conflict, NotFound, SpaceMismatch
from skerry.sql.document_changes import ChunkFeed
from skerry.sql.document_rows import NewDocument
from skerry.sql.image_changes import ImageFeed
from skerry.sql.spaces import SpaceTable

from .conftest import SPACE
from .library import TEXT_SPACE, store


@pytest.fixture
def spaces(db):
    return SpaceTable(db)


async def test_first_space_is_active_and_the_next_one_fills(spaces):
    assert spaces.active() is None
    first = await spaces.add("lite2", model="efficientnet-lite2", size=1408)
    second = await spaces.add("resnet", model="resnet50", size=2048)
    assert (first.state, second.state) == ("active", "filling")
    assert spaces.active() == first
    assert spaces.all() == [first, second]


async def test_space_that_was_begun_goes_on_but_not_with_another_size(spaces):
    first = await spaces.add("lite2", model="efficientnet-lite2", size=1408)
    assert await spaces.add("lite2", model="other", size=1408) == first
    with pytest.raises(SpaceMismatch, match="1408"):
        await spaces.add("lite2", model="efficientnet-lite2", size=1280)


async def test_activate_switches_in_one_step_and_back(spaces):
    await spaces.add("a", model="m", size=4)
    await spaces.add("b", model="n", size=4)
    assert (await spaces.activate("b")).state == "active"
    assert {space.name: space.state for space in spaces.all()} == {"a": "retired", "b": "active"}
    await spaces.activate("b")
    await spaces.activate("a")
    assert spaces.active().name == "a"
    with pytest.raises(NotFound):
        await spaces.activate("c")
    assert spaces.active().name == "a"


async def test_removed_space_takes_its_vectors_and_leaves_the_others(db, spaces, table, add):
    await spaces.add(SPACE, model="m", size=8)
    await spaces.add("next", model="n", size=8)
    await add("a")
    with pytest.raises(Conflict):
        await spaces.remove(SPACE)
    await spaces.activate("next")
    await spaces.remove(SPACE)
    assert spaces.get(SPACE) is None
    assert await ImageFeed(db, space=SPACE).count() == 0
    assert await table.count() == 1


async def test_each_kind_has_an_active_space_of_its_own(db, spaces):
    texts = SpaceTable(db, kind="chunk")
    await spaces.add("lite2", model="efficientnet-lite2", size=1408)
    first = await texts.add("minilm", model="all-minilm-l6-v2", size=384)
    await texts.add("e5", model="multilingual-e5", size=384)
    assert first.state == "active"
    assert (spaces.active().name, texts.active().name) == ("lite2", "minilm")
    assert {space.name for space in texts.all()} == {"minilm", "e5"}
    await texts.activate("e5")
    assert (spaces.active().name, texts.active().name) == ("lite2", "e5")
    assert texts.get("minilm").state == "retired"


async def test_name_belongs_to_the_kind_that_took_it(db, spaces):
    texts = SpaceTable(db, kind="chunk")
    await spaces.add("lite2", model="m", size=8)
    with pytest.raises(SpaceMismatch, match="another kind"):
        await texts.add("lite2", model="m", size=8)
    with pytest.raises(NotFound):
        await texts.activate("lite2")
    assert texts.get("lite2") is None
    await texts.remove("lite2")
    assert spaces.get("lite2").state == "active"


async def test_removed_space_of_chunks_takes_its_vectors(db, spaces, add):
    texts = SpaceTable(db, kind="chunk")
    await texts.add("other", model="m", size=8)
    await texts.add(TEXT_SPACE, model="m", size=8)
    await add("a")
    await store(db, NewDocument("a", "one\ntwo"))
    await texts.remove(TEXT_SPACE)
    assert db.read("SELECT kind, space FROM embeddings") == [("image", SPACE)]
    assert len(await ChunkFeed(db, space=TEXT_SPACE).missing()) == 2
