"""Keys: sign in, what each scope may do, sign out."""

from __future__ import annotations

from typing import Any

import pytest
from console_page import OpenConsole, Photo, Problems, choose, expect_answer, store, sync_api

expect = sync_api.expect


@pytest.fixture
def keyed(new_node: Any, photo: Photo) -> tuple[Any, dict[str, str]]:
    """A node with one image and a key of each scope: scope -> secret."""
    node = new_node()
    secrets = {}
    with node.client() as client:
        store(client, photo(9, "first.jpg"))
        # The first key closes the node, so the admin's comes first and makes the others.
        for scope in ("admin", "write", "infer", "read"):
            answer = client.post("/api/keys", json={"name": f"till-{scope}", "scope": scope})
            assert answer.status_code == 201, answer.text
            secrets[scope] = answer.json()["secret"]
            client.headers["authorization"] = f"Bearer {secrets['admin']}"
    return node, secrets


def sign_in(page: Any, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def test_a_wrong_key_is_refused_and_the_right_one_opens_the_console(
    keyed: tuple[Any, dict[str, str]], open_console: OpenConsole, problems: Problems, photo: Photo
) -> None:
    problems.expect("status of 401")
    node, secrets = keyed
    page = open_console(node.url, "collection")
    expect(page.get_by_role("heading", name="Sign in to this node")).to_be_visible()
    expect(page.get_by_label("Key")).to_be_focused()
    sign_in(page, "sk_wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    sign_in(page, secrets["write"])
    expect(page.get_by_text("till-write")).to_be_visible()
    # A picture can send no header: the cookie alone has to open it.
    loaded = "image => image.complete && image.naturalWidth > 0"
    picture = page.locator(".tile img").first
    expect(picture).to_be_visible()
    page.wait_for_function(loaded, arg=picture.element_handle())
    page.reload()
    expect(page.get_by_text("till-write")).to_be_visible()
    page.get_by_role("link", name="Recognise", exact=True).click()
    choose(page, photo(1))
    expect_answer(page)
    page.get_by_role("button", name="Store this photo").click()
    expect(page.get_by_role("region", name="In the collection")).to_be_visible()


def test_a_read_key_sees_but_is_offered_no_change(
    keyed: tuple[Any, dict[str, str]], open_console: OpenConsole
) -> None:
    node, secrets = keyed
    page = open_console(node.url)
    sign_in(page, secrets["read"])
    expect(page.get_by_text("This key may look, but not recognise")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="Collection").click()
    tile = page.get_by_role("list", name="Images").get_by_role("listitem")
    expect(tile).to_have_count(1)
    expect(tile.get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_role("button", name="Add photos")).to_have_count(0)
    tile.get_by_role("button").click()
    panel = page.get_by_role("dialog", name="first.jpg")
    expect(panel).to_contain_text("SHA-256")
    expect(panel.get_by_role("button", name="Delete…")).to_have_count(0)
    expect(panel.get_by_label("Tag name")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to this node")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in to this node")).to_be_visible()


def test_an_infer_key_stores_nothing_and_once_revoked_leads_back_to_the_sign_in(
    keyed: tuple[Any, dict[str, str]], open_console: OpenConsole, problems: Problems, photo: Photo
) -> None:
    problems.expect("status of 401")
    node, secrets = keyed
    page = open_console(node.url)
    sign_in(page, secrets["infer"])
    choose(page, photo(2))
    expect_answer(page)
    expect(page.get_by_text("a key that may not store photos")).to_be_visible()
    expect(page.get_by_role("button", name="Store this photo")).to_have_count(0)
    with node.client() as client:
        admin = {"authorization": f"Bearer {secrets['admin']}"}
        assert client.delete("/api/keys/till-infer", headers=admin).status_code == 204
    expect(page.get_by_role("heading", name="Sign in to this node")).to_be_visible()
