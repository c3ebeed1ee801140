"""The collection: add, find, tag and delete stored images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from console_page import OpenConsole, Photo, Problems, drop, store, sync_api

expect = sync_api.expect


def grid(page: Any) -> Any:
    return page.get_by_role("list", name="Images")


def tile(page: Any, name: str) -> Any:
    return grid(page).get_by_role("listitem").filter(has_text=name)


def select(page: Any, name: str) -> None:
    tile(page, name).get_by_role("checkbox").check(force=True)


def test_several_files_are_stored_with_a_result_each(
    node: Any,
    open_console: OpenConsole,
    problems: Problems,
    photo: Photo,
    owner: str,
    tmp_path: Path,
) -> None:
    problems.expect("status of 400")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo().read_bytes()[:20])
    with node.client() as client:
        store(client, photo(3, "old.jpg"), uploaded_by=owner)
        page = open_console(node.url, f"collection?uploaded_by={owner}")
        files = [photo(1), photo(2), photo(3, "again.jpg"), broken]
        page.get_by_label("Photos to store").set_input_files(files)
        dialog = page.get_by_role("dialog", name="Add 4 photos")
        dialog.get_by_label("Stored by").fill(owner)
        dialog.get_by_label("Tag name").fill("shelf")
        dialog.get_by_label("Tag value").fill("3")
        dialog.get_by_role("button", name="Add tag").click()
        dialog.get_by_role("button", name="Store 4 photos").click()
        tray = page.get_by_role("complementary", name="Uploads")
        expect(tray).to_contain_text("2 photos stored, 1 already there, 1 failed")
        rows = tray.get_by_role("listitem")
        expect(rows.filter(has_text="again.jpg")).to_contain_text("was already stored")
        expect(rows.filter(has_text="broken.jpg")).to_contain_text("Send a JPEG")
        expect(grid(page).get_by_role("listitem")).to_have_count(3)
        expect(page.get_by_text("3 images found")).to_be_visible()
        newest = client.get("/api/images", params={"uploaded_by": owner}).json()["images"][:2]
    assert {image["filename"] for image in newest} == {"photo-1.jpg", "photo-2.jpg"}
    assert all(image["tags"] == {"shelf": "3"} for image in newest)


def test_a_folder_is_stored_and_its_photos_tagged_with_its_name(
    node: Any, open_console: OpenConsole, photo: Photo, owner: str, tmp_path: Path
) -> None:
    photo(1, folder="shop/cups")
    photo(2, folder="shop/lamps")
    (tmp_path / "shop" / "list.txt").write_text("no image")
    page = open_console(node.url, f"collection?uploaded_by={owner}")
    page.get_by_label("Folder to store").set_input_files(tmp_path / "shop")
    dialog = page.get_by_role("dialog", name="Add 2 photos")
    expect(dialog).to_contain_text("1 other file left out")
    dialog.get_by_label("Stored by").fill(owner)
    dialog.get_by_label("Tag each with its folder").check()
    dialog.get_by_label("Name of that tag").fill("kind")
    dialog.get_by_role("button", name="Store 2 photos").click()
    expect(tile(page, "photo-1.jpg")).to_contain_text("kind = cups")
    expect(tile(page, "photo-2.jpg")).to_contain_text("kind = lamps")


def test_a_dropped_folder_is_walked_to_its_end(
    node: Any, open_console: OpenConsole, photo: Photo, tmp_path: Path
) -> None:
    photo(1, folder="shop/cups")
    photo(2, folder="shop/lamps/old")
    page = open_console(node.url, "collection")
    expect(page.get_by_role("button", name="Add a folder")).to_be_visible()
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(tmp_path / "shop")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"type": kind, "x": 600, "y": 500, "data": data}
        session.send("Input.dispatchDragEvent", place)
    dialog = page.get_by_role("dialog", name="Add 2 photos")
    expect(dialog).to_contain_text("cups")


def test_a_photo_dropped_on_the_collection_is_stored(
    node: Any, open_console: OpenConsole, photo: Photo, owner: str
) -> None:
    page = open_console(node.url, f"collection?uploaded_by={owner}")
    expect(page.get_by_role("button", name="Add photos")).to_be_visible()
    drop(page, photo(name="dropped.jpg"))
    dialog = page.get_by_role("dialog", name="Add 1 photo")
    dialog.get_by_label("Stored by").fill(owner)
    dialog.get_by_role("button", name="Store 1 photo").click()
    expect(tile(page, "dropped.jpg")).to_be_visible()


def test_filters_narrow_the_grid_and_stand_in_the_address(
    node: Any, open_console: OpenConsole, photo: Photo, owner: str
) -> None:
    with node.client() as client:
        tags = [json.dumps({"test": owner, "shelf": shelf}) for shelf in "334"]
        store(client, photo(1), uploaded_by=f"{owner}-ann", tags=tags[0])
        store(client, photo(2), uploaded_by=f"{owner}-bob", tags=tags[1])
        (third,) = store(client, photo(3), uploaded_by=f"{owner}-bob", tags=tags[2])
    page = open_console(node.url, f"collection?tag=test={owner}")
    tiles = grid(page).get_by_role("listitem")
    expect(tiles).to_have_count(3)
    page.get_by_label("Stored by").fill(f"{owner}-bob")
    expect(tiles).to_have_count(2)
    page.get_by_label("Tag", exact=True).fill("shelf=4")
    expect(tiles).to_have_count(1)
    expect(page.get_by_text("1 image found")).to_be_visible()
    expect(page).to_have_url(re.compile(rf"tag=shelf%3D4&uploaded_by={owner}-bob"))
    page.reload()
    expect(tiles).to_have_count(1)
    page.get_by_label("Label").fill(third["labels"][0]["label"].split(", ")[0])
    expect(page).to_have_url(re.compile("label="))
    expect(tile(page, "photo-3.jpg")).to_be_visible()
    page.get_by_label("Until").fill("2001-01-01")
    expect(page.get_by_text("No image matches these filters")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    expect(page).to_have_url(re.compile("#/collection$"))
    expect(tiles.first).to_be_visible()


def test_a_tag_filter_without_a_value_says_how_to_write_one(
    node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    page = open_console(node.url, "collection")
    page.get_by_label("Tag", exact=True).fill("shelf")
    expect(page.get_by_text("Write a tag as name=value")).to_be_visible()


def test_a_selection_is_tagged_and_its_tags_removed(
    node: Any, open_console: OpenConsole, photo: Photo, owner: str
) -> None:
    with node.client() as client:
        store(client, photo(1), photo(2), photo(3), uploaded_by=owner, tags='{"old": "1"}')
        page = open_console(node.url, f"collection?uploaded_by={owner}")
        select(page, "photo-1.jpg")
        select(page, "photo-2.jpg")
        bar = page.get_by_role("region", name="Selection")
        expect(bar).to_contain_text("2 images selected")
        bar.get_by_role("button", name="Tag…").click()
        dialog = page.get_by_role("dialog", name="Tag 2 images")
        expect(dialog.get_by_label("Tag name")).to_be_focused()
        dialog.get_by_label("Tag name").fill("shelf")
        dialog.get_by_label("Tag value").fill("9")
        dialog.get_by_label("Tag value").press("Enter")
        dialog.get_by_label("old").check()
        dialog.get_by_role("button", name="Change tags").click()
        expect(tile(page, "photo-1.jpg")).to_contain_text("shelf = 9")
        expect(tile(page, "photo-2.jpg")).not_to_contain_text("old")
        images = client.get("/api/images", params={"uploaded_by": owner}).json()["images"]
    tags = {image["filename"]: image["tags"] for image in images}
    assert tags == {
        "photo-1.jpg": {"shelf": "9"},
        "photo-2.jpg": {"shelf": "9"},
        "photo-3.jpg": {"old": "1"},
    }


def test_shift_takes_a_range_and_a_deletion_asks_first(
    node: Any, open_console: OpenConsole, photo: Photo, owner: str
) -> None:
    with node.client() as client:
        stored = store(client, *(photo(seed) for seed in range(1, 5)), uploaded_by=owner)
        page = open_console(node.url, f"collection?uploaded_by={owner}")
        boxes = grid(page).get_by_role("checkbox")
        expect(boxes).to_have_count(4)
        boxes.nth(0).check(force=True)
        boxes.nth(2).click(modifiers=["Shift"], force=True)
        page.get_by_role("button", name="Delete…").click()
        dialog = page.get_by_role("dialog", name="Delete 3 images?")
        dialog.get_by_role("button", name="Cancel").click()
        mine = {"uploaded_by": owner}
        assert client.get("/api/images", params=mine).json()["total"] == 4
        page.get_by_role("button", name="Delete…").click()
        dialog.get_by_role("button", name="Delete 3 images").click()
        expect(grid(page).get_by_role("listitem")).to_have_count(1)
        expect(page.get_by_role("region", name="Selection")).to_have_count(0)
        left = client.get("/api/images", params=mine).json()["images"]
    assert [image["id"] for image in left] == [min(image["id"] for image in stored)]


def test_the_panel_shows_everything_edits_tags_and_deletes(
    node: Any, open_console: OpenConsole, photo: Photo, owner: str
) -> None:
    with node.client() as client:
        (image,) = store(client, photo(1), uploaded_by=owner, tags='{"shelf": "3"}')
        store(client, photo(1, "double.jpg", quality=80), uploaded_by=owner)
        page = open_console(node.url, f"collection?uploaded_by={owner}")
        tile(page, "photo-1.jpg").get_by_role("button").first.click()
        panel = page.get_by_role("dialog", name="photo-1.jpg")
        for text in (image["sha256"], "image/jpeg", "320 × 240", owner):
            expect(panel).to_contain_text(str(text))
        expect(panel.get_by_role("button", name=re.compile("double.jpg"))).to_be_visible()
        expect(panel.get_by_role("link", name="Original file")).to_have_attribute(
            "href", f"/api/images/{image['id']}/file"
        )
        panel.get_by_label("Tag name").fill("room")
        panel.get_by_label("Tag value").fill("cellar")
        panel.get_by_role("button", name="Add tag").click()
        panel.get_by_role("button", name="Remove tag shelf").click()
        expect(tile(page, "photo-1.jpg")).to_contain_text("room = cellar")
        expect(panel.get_by_role("button", name="Remove tag shelf")).to_have_count(0)
        assert client.get(f"/api/images/{image['id']}").json()["tags"] == {"room": "cellar"}
        panel.get_by_role("button", name="Delete…").click()
        page.get_by_role("dialog", name="Delete this image?").get_by_role(
            "button", name="Delete", exact=True
        ).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(grid(page).get_by_role("listitem")).to_have_count(1)
        assert client.get(f"/api/images/{image['id']}").status_code == 404


def test_escape_closes_the_panel_and_the_focus_returns_to_the_tile(
    node: Any, open_console: OpenConsole, photo: Photo, owner: str
) -> None:
    with node.client() as client:
        store(client, photo(1, "mine.jpg"), uploaded_by=owner)
    page = open_console(node.url, f"collection?uploaded_by={owner}")
    opener = tile(page, "mine.jpg").get_by_role("button").first
    opener.focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("dialog", name="mine.jpg")
    expect(panel.get_by_text("SHA-256")).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        inside = (
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
        assert page.evaluate(inside)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(opener).to_be_focused()


def test_the_grid_goes_on_as_one_scrolls(
    node: Any, open_console: OpenConsole, photo: Photo, owner: str
) -> None:
    with node.client() as client:
        store(client, *(photo(seed) for seed in range(60)), uploaded_by=owner)
    page = open_console(
        node.url, f"collection?uploaded_by={owner}", viewport={"width": 1280, "height": 500}
    )
    tiles = grid(page).get_by_role("listitem")
    expect(tiles).to_have_count(48)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(tiles).to_have_count(60)


def test_an_image_that_is_gone_is_said_to_be(
    node: Any, open_console: OpenConsole, problems: Problems
) -> None:
    problems.expect("status of 404")
    page = open_console(node.url, "collection?image=99999999")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
