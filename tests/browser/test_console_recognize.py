"""The first screen: a photo by every way in, and everything said about it."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from console_page import (
    PHONE,
    OpenConsole,
    Photo,
    Problems,
    choose,
    copy,
    drop,
    expect_answer,
    store,
    sync_api,
)

expect = sync_api.expect


def test_a_chosen_photo_gets_labels_likes_and_stages(
    node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    with node.client() as client:
        store(client, photo(1), photo(2), uploaded_by="ann", tags='{"shelf": "3"}')
    page = open_console(node.url)
    choose(page, photo(0))
    expect_answer(page)
    expect(page.get_by_alt_text("The photo photo-0.jpg")).to_be_visible()
    expect(page.get_by_text("320 × 240")).to_be_visible()
    similar = page.get_by_role("region", name="Most like it")
    expect(similar.get_by_role("listitem").first).to_contain_text("%")
    stages = page.get_by_role("region", name="Where the time went")
    expect(stages.get_by_text("cache miss")).to_be_visible()
    for stage in ("Cache", "Decode", "Queue", "Inference", "Search", "Metadata"):
        row = stages.get_by_role("listitem").filter(has_text=stage)
        expect(row.locator(".stage-value")).to_have_text(re.compile(r"^[\d.]+ ms$"))
    expect(stages).to_contain_text("efficientnet-lite2")
    expect(stages).to_contain_text(re.compile("INT8|FP32|FP16|BF16"))


@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 800}])
def test_parts_of_an_answer_stand_clear_of_each_other(
    node: Any, open_console: OpenConsole, photo: Photo, viewport: dict[str, int]
) -> None:
    with node.client() as client:
        store(client, photo(1), tags='{"shelf": "3"}')
    page = open_console(node.url, viewport=viewport)
    choose(page, photo(0))
    expect_answer(page)
    names = ("The photo", "What it is", "Where the time went", "Most like it")
    boxes = [page.get_by_role("region", name=name).bounding_box() for name in names]
    assert all(box["width"] >= 200 for box in boxes)
    assert page.get_by_alt_text("The photo photo-0.jpg").bounding_box()["width"] >= 200
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]


def overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two boxes share a place, or have less than 8 pixels between them."""
    return min(one["x"] + one["width"], other["x"] + other["width"]) + 8 > max(
        one["x"], other["x"]
    ) and min(one["y"] + one["height"], other["y"] + other["height"]) + 8 > max(
        one["y"], other["y"]
    )


def test_the_same_photo_again_is_a_cache_hit_and_says_what_it_skipped(
    node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    page = open_console(node.url)
    choose(page, photo())
    stages = page.get_by_role("region", name="Where the time went")
    expect(stages.get_by_text("cache miss")).to_be_visible()
    page.get_by_role("button", name="Again").click()
    expect(stages.get_by_text("cache hit")).to_be_visible()
    expect(stages.get_by_text("skipped")).to_have_count(3)


def test_a_photo_can_be_dropped_anywhere(
    node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    page = open_console(node.url)
    expect(page.get_by_role("button", name="Choose a photo")).to_be_visible()
    drop(page, photo(name="dropped.jpg"))
    expect_answer(page)
    expect(page.get_by_text("dropped.jpg").first).to_be_visible()


def test_a_photo_can_be_pasted(node: Any, open_console: OpenConsole, photo: Photo) -> None:
    page = open_console(node.url, permissions=["clipboard-read", "clipboard-write"])
    expect(page.get_by_role("button", name="Choose a photo")).to_be_visible()
    copy(page, photo())
    page.keyboard.press("Control+V")
    expect_answer(page)


def test_a_photo_can_be_taken_with_the_camera(node: Any, open_console: OpenConsole) -> None:
    page = open_console(node.url, permissions=["camera"])
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("dialog").get_by_role("button", name="Take photo").click()
    expect_answer(page)


def test_a_refused_camera_says_what_to_do(node: Any, open_console: OpenConsole) -> None:
    page = open_console(node.url)
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => "
        "Promise.reject(new DOMException('no', 'NotAllowedError')); }"
    )
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert")).to_contain_text("Allow the camera")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_keyboard_alone_is_enough(node: Any, open_console: OpenConsole, photo: Photo) -> None:
    page = open_console(node.url)
    expect(page.get_by_role("button", name="Choose a photo")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose a photo")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo())
    expect_answer(page)
    # What was found is said aloud, and the focus stands at its beginning.
    expect(page.get_by_role("status").filter(has_text="on the node")).to_have_count(1)
    expect(page.get_by_role("heading", name="What the node sees")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="New photo")).to_be_focused()


def test_a_photo_put_away_leads_back_to_the_first_screen(
    node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    page = open_console(node.url)
    choose(page, photo())
    expect_answer(page)
    page.get_by_role("button", name="Put the photo away").click()
    expect(page.get_by_role("button", name="Choose a photo")).to_be_visible()


def test_what_is_no_image_is_refused_with_a_remedy(
    node: Any, open_console: OpenConsole, problems: Problems, tmp_path: Path
) -> None:
    problems.expect("status of 4")
    notes = tmp_path / "notes.txt"
    notes.write_text("no image")
    page = open_console(node.url)
    choose(page, notes)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("JPEG")
    expect(alert).to_contain_text("Request")


def test_a_photo_is_stored_with_tags_of_ones_own(
    node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    page = open_console(node.url)
    choose(page, photo())
    panel = page.get_by_role("region", name="Store this photo")
    panel.get_by_label("Tag name").fill("room")
    panel.get_by_label("Tag value").fill("cellar")
    panel.get_by_label("Tag value").press("Enter")
    panel.get_by_role("button", name="Store this photo").click()
    stored = page.get_by_role("region", name="In the collection")
    expect(stored).to_contain_text("room = cellar")
    image_id = stored.get_by_role("button", name=re.compile(r"^image \d+$")).inner_text().split()[1]
    with node.client() as client:
        assert client.get(f"/api/images/{image_id}").json()["tags"] == {"room": "cellar"}


def test_a_suggested_tag_stores_the_photo_at_one_click(
    node: Any, open_console: OpenConsole, photo: Photo, owner: str
) -> None:
    with node.client() as client:
        doubles = [photo(0, f"double-{quality}.jpg", quality=quality) for quality in (80, 85)]
        store(client, *doubles, tags=json.dumps({"room": owner}))
        page = open_console(node.url)
        choose(page, photo(0))
        page.get_by_role("button", name=re.compile(rf"room = {owner}.*votes")).click()
        expect(page.get_by_role("region", name="In the collection")).to_contain_text(owner)
        tagged = client.get("/api/images", params={"tag.room": owner}).json()["images"]
    assert {image["filename"] for image in tagged} >= {"photo-0.jpg"}
    assert len(tagged) == 3


def test_a_photo_that_is_stored_already_is_said_to_be(
    node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    with node.client() as client:
        image = store(client, photo())[0]
    page = open_console(node.url)
    choose(page, photo())
    expect(page.get_by_text("Already here as")).to_be_visible()
    expect(page.get_by_role("region", name="Most like it")).to_contain_text("this photo")
    page.get_by_role("button", name=f"image {image['id']}", exact=True).click()
    expect(page.get_by_role("dialog", name="photo-0.jpg")).to_be_visible()


def test_an_empty_node_says_how_to_begin(
    new_node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    page = open_console(new_node().url)
    hint = page.get_by_role("region", name="Nothing is stored yet")
    expect(hint).to_contain_text("skerry demo")
    choose(page, photo())
    expect_answer(page)
    expect(page.get_by_text("No stored photos to compare with")).to_be_visible()


def test_an_answer_survives_a_look_at_the_collection(
    node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    page = open_console(node.url)
    choose(page, photo())
    expect_answer(page)
    page.get_by_role("link", name="Collection").click()
    expect(page.get_by_role("heading", name="Collection")).to_be_visible()
    page.get_by_role("link", name="Recognise", exact=True).click()
    expect_answer(page)
