import pytest

from skerry.errors import BadRequest, Conflict
from skerry.sql.images import ImageFilters, ImageTable, Label

from .conftest import new_image, vector


async def test_image_is_found_by_id_and_by_sha256_as_it_was_stored(table, add):
    tags = {"shelf": "3", "price": 1.5, "count": 2, "sold": True, "naïve": "\x00 \u2028 😀"}
    row = await add("cat", tags=tags)
    expected = new_image("cat", tags=tags)
    assert table.get(row.id) == table.get(expected.sha256) == row
    assert (row.filename, row.tags, row.labels) == ("cat.jpg", tags, expected.labels)
    assert row.tags["sold"] is True


def test_unknown_id_and_unknown_sha256_are_none(table):
    assert table.get(1) is None
    assert table.get("0" * 64) is None


async def test_rows_come_in_the_order_of_the_ids_without_those_that_are_gone(db, table, add):
    ids = [(await add(name)).id for name in "abc"]
    await db.write(lambda tx: table.delete(tx, ids[1]))
    wanted = [ids[2], 999, ids[1], ids[0]]
    assert [row.id for row in table.by_ids(wanted)] == [ids[2], ids[0]]
    assert [row.id for row in table.summaries(wanted)] == [ids[2], ids[0]]
    assert table.by_ids([]) == []


async def test_same_bytes_twice_are_a_conflict_and_change_nothing(db, table, add):
    row = await add("cat")
    with pytest.raises(Conflict):
        await add("cat", filename="other.jpg")
    assert table.get(row.id) == row
    assert await table.count() == 1


async def test_update_changes_what_is_given_and_replaces_tags_as_a_whole(db, table, add):
    row = await add("cat")
    changed = await db.write(lambda tx: table.update(tx, row.id, tags={"aisle": 4}))
    assert changed is not None
    assert (changed.filename, changed.tags) == ("cat.jpg", {"aisle": 4})
    changed = await db.write(
        lambda tx: table.update(tx, row.id, filename="", uploaded_by="bob", labels=())
    )
    assert changed == table.get(row.id)
    assert (changed.filename, changed.uploaded_by, changed.labels) == ("", "bob", ())
    assert await db.write(lambda tx: table.update(tx, 999, filename="x")) is None


async def test_delete_removes_embeddings_tags_and_labels_with_the_row(db, table, add):
    row = await add("cat")
    assert await db.write(lambda tx: table.delete(tx, row.id))
    assert not await db.write(lambda tx: table.delete(tx, row.id))
    for name in ("images", "embeddings", "image_tags", "image_labels"):
        assert db.read(f"SELECT count(*) FROM {name}") == [(0,)], name


async def test_an_id_is_never_given_again(db, table, add):
    first = await add("a")
    await db.write(lambda tx: table.delete(tx, first.id))
    assert (await add("b")).id > first.id


async def test_vector_for_a_deleted_image_is_refused(db, table, add):
    row = await add("cat")
    await db.write(lambda tx: table.delete(tx, row.id))
    put = await db.write(
        lambda tx: table.put_embedding(tx, row.id, embedding=vector(), space="other")
    )
    assert put is False
    with pytest.raises(Exception, match="does not exist"):
        await db.write(
            lambda tx: tx.execute("INSERT INTO embeddings VALUES ('image', 1, 's', x'00000000')")
        )
    assert db.read("SELECT count(*) FROM embeddings") == [(0,)]


@pytest.mark.parametrize(
    "tags", [{"a": None}, {"a": [1]}, {"a": float("nan")}, {"a": float("inf")}, {"a": 2**63},
             {"a": "\ud800"}, {"\ud800": 1}],
)  # fmt: skip
async def test_tag_that_cannot_be_stored_is_refused(db, table, add, tags):
    with pytest.raises(BadRequest):
        await add("cat", tags=tags)
    assert await table.count() == 0


# ---- listing


async def names(table: ImageTable, **filters: object) -> str:
    page = await table.page(ImageFilters(**filters))
    assert page.total == len(page.rows)
    return "".join(row.filename[0] for row in page.rows)


async def test_pages_are_newest_first_and_stable_while_images_arrive(table, add):
    for index, name in enumerate("abcdefg"):
        await add(name, created_at=100 + index // 2)  # equal times: the id decides
    page = await table.page(ImageFilters(), limit=3)
    assert [row.filename[0] for row in page.rows] == ["g", "f", "e"]
    assert page.total == 7
    await add("z", created_at=500)
    seen = []
    while page.next:
        page = await table.page(ImageFilters(), cursor=page.next, limit=3)
        seen += [row.filename[0] for row in page.rows]
    assert seen == ["d", "c", "b", "a"]


async def test_last_page_that_is_exactly_full_has_no_next(table, add):
    await add("a")
    await add("b")
    assert (await table.page(ImageFilters(), limit=2)).next is None
    assert (await table.page(ImageFilters(uploaded_by="nobody"))).rows == []


@pytest.mark.parametrize("cursor", ["", "x", "é", "MTIz", "MS4yLjM", "MS4yCg", "a" * 10_000])
async def test_cursor_that_is_not_ours_is_refused(table, cursor):
    with pytest.raises(BadRequest):
        await table.page(ImageFilters(), cursor=cursor)


async def test_filter_by_uploader_and_time(table, add):
    await add("a", uploaded_by="ann", created_at=10)
    await add("b", uploaded_by="bob", created_at=20)
    await add("c", uploaded_by="ann", created_at=30)
    assert await names(table, uploaded_by="ann") == "ca"
    assert await names(table, created_after=20) == "cb"
    assert await names(table, created_before=20) == "a"
    assert await names(table, created_after=10, created_before=30, uploaded_by="bob") == "b"


async def test_filter_by_label_takes_the_top_one_or_a_synonym_in_any_case(db, table, add):
    row = await add("a", labels=(Label("tabby, tabby cat", 281, 0.6), Label("lynx", 287, 0.3)))
    await add("b", labels=(Label('12" ruler, "rule"', 769, 0.6),))
    await add("c", labels=())
    assert await names(table, label="tabby, tabby cat") == "a"
    assert await names(table, label="Tabby Cat") == "a"
    assert await names(table, label="tab") == ""
    assert await names(table, label="lynx") == ""
    assert await names(table, label='"rule"') == "b"
    await db.write(lambda tx: table.update(tx, row.id, labels=(Label("lynx", 287, 0.9),)))
    assert await names(table, label="lynx") == "a"
    assert await names(table, label="tabby") == ""
    await db.write(lambda tx: table.update(tx, row.id, labels=()))
    assert await names(table, label="lynx") == ""


async def test_filter_by_tag_tells_kinds_apart_but_a_text_finds_what_it_spells(table, add):
    for name, value in {"s": "3", "i": 3, "f": 3.0, "t": True, "o": 1, "w": "true"}.items():
        await add(name, tags={"x": value, "y": name})
    assert await names(table, tags={"x": 3}) == "fi"
    assert await names(table, tags={"x": "3"}) == "fis"
    assert await names(table, tags={"x": True}) == "t"
    assert await names(table, tags={"x": 1}) == "o"
    assert await names(table, tags={"x": "true"}) == "wt"
    assert await names(table, tags={"x": "3", "y": "i"}) == "i"
    assert await names(table, tags={"none": "3"}) == ""


async def test_filter_finds_the_tags_as_they_are_after_an_update(db, table, add):
    row = await add("a", tags={"shelf": "3"})
    await db.write(lambda tx: table.update(tx, row.id, tags={"shelf": "4"}))
    assert await names(table, tags={"shelf": "3"}) == ""
    assert await names(table, tags={"shelf": "4"}) == "a"
