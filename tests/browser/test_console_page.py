"""The page itself: policy, offline, light and dark, phones, accessibility."""

from __future__ import annotations

import re
from typing import Any

import pytest
from console_page import (
    PHONE,
    OpenConsole,
    Photo,
    assert_accessible,
    choose,
    expect_answer,
    page_width,
    store,
    sync_api,
)

expect = sync_api.expect
VIEWS = ["recognize", "collection", "live"]


def test_the_policy_forbids_inline_code_and_foreign_hosts(node: Any) -> None:
    with node.client() as client:
        policy = client.get("/console").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "object-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_every_request_goes_to_the_node_alone(
    node: Any, open_console: OpenConsole, photo: Photo
) -> None:
    page = open_console(node.url)
    foreign: list[str] = []
    page.on("request", lambda r: foreign.append(r.url) if not _own(r.url, node.url) else None)
    page.reload()
    choose(page, photo())
    expect_answer(page)
    for view in ("Collection", "Chat", "Text", "Live"):
        page.get_by_role("navigation").get_by_role("link", name=view).click()
        expect(page.get_by_role("heading", name=view, exact=True)).to_be_visible()
    assert foreign == []


def _own(url: str, node_url: str) -> bool:
    return url.startswith((node_url, f"blob:{node_url}", "data:"))


def test_the_console_follows_the_systems_light_and_dark(
    node: Any, open_console: OpenConsole
) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page = open_console(node.url, color_scheme=scheme)
        expect(page.get_by_role("button", name="Choose a photo")).to_be_visible()
        colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        shades[scheme] = sum(int(part) for part in re.findall(r"\d+", colour)[:3])
    assert shades["light"] > 600
    assert shades["dark"] < 150


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_scrolls_in_one_direction_only(
    node: Any, open_console: OpenConsole, photo: Photo, view: str
) -> None:
    long_name = f"{'a-very-long-name-without-a-space' * 4}.jpg"
    with node.client() as client:
        (image,) = store(
            client, photo(1, long_name), tags='{"a-rather-long-name": "and its value"}'
        )
    page = open_console(node.url, view, viewport=PHONE, has_touch=True, is_mobile=True)
    if view == "recognize":
        choose(page, photo(1, long_name))
        expect_answer(page)
        expect(page.get_by_role("region", name="In the collection")).to_be_visible()
    else:
        expect(page.locator(".tile, .chart").first).to_be_visible()
    assert page_width(page) <= PHONE["width"]
    page.goto(f"{node.url}/console#/{view}?image={image['id']}")
    expect(page.get_by_role("dialog").get_by_text("SHA-256")).to_be_visible()
    assert page_width(page) <= PHONE["width"]
    panel = page.get_by_role("dialog").evaluate("panel => panel.scrollWidth - panel.clientWidth")
    assert panel <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", [*VIEWS, "answer", "panel"])
def test_axe_finds_no_fault(
    node: Any, open_console: OpenConsole, photo: Photo, view: str, scheme: str
) -> None:
    with node.client() as client:
        (image,) = store(client, photo(1), tags='{"shelf": "3"}')
    where = {"answer": "recognize", "panel": f"collection?image={image['id']}"}.get(view, view)
    # Colours in the middle of a transition would be judged as if they stayed.
    page = open_console(node.url, where, color_scheme=scheme, reduced_motion="reduce")
    if view == "answer":
        choose(page, photo(2))
        expect_answer(page)
    settled = {"panel": "SHA-256", "collection": "photo-1.jpg", "live": "Throughput"}
    if view in settled:
        expect(page.get_by_text(settled[view]).first).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    assert_accessible(page)


def test_motion_stops_for_those_who_asked(node: Any, open_console: OpenConsole) -> None:
    page = open_console(node.url, reduced_motion="reduce")
    button = page.get_by_role("button", name="Choose a photo")
    seconds = float(button.evaluate("b => parseFloat(getComputedStyle(b).transitionDuration)"))
    assert seconds < 0.001


def test_an_unknown_view_leads_to_the_first_screen(node: Any, open_console: OpenConsole) -> None:
    page = open_console(node.url, "nowhere")
    expect(page.get_by_role("button", name="Choose a photo")).to_be_visible()
