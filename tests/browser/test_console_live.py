"""The live view, and what the console says when the node is gone."""

from __future__ import annotations

import re
from typing import Any

from console_page import OpenConsole, Photo, Problems, choose, expect_answer, sync_api

expect = sync_api.expect


def test_figures_move_while_one_looks(node: Any, open_console: OpenConsole, photo: Photo) -> None:
    with node.client() as client:
        hits = client.get("/api/status").json()["cache"]["hits"]
        page = open_console(node.url, "live")
        card = page.get_by_role("region", name="Node")
        expect(card).to_contain_text(re.compile(rf"\b{hits} hits?\b"))
        for _ in range(3):
            answer = client.post("/api/recognize", content=photo().read_bytes())
            assert answer.status_code == 200
    expect(card).to_contain_text(re.compile(rf"\b{hits + 2} hits\b"))
    latency = page.locator(".chart").filter(has_text="P95")
    expect(latency.locator("dd").first).to_have_text(re.compile(r"^[1-9\d.]+ ms$"))
    line = latency.locator(".plot-line").first
    before = line.get_attribute("d")
    expect(line).not_to_have_attribute("d", before or "")


def test_parts_index_and_models_are_named(node: Any, open_console: OpenConsole) -> None:
    page = open_console(node.url, "live")
    parts = page.get_by_role("region", name="Parts")
    for part in ("models", "database", "index"):
        row = parts.get_by_role("listitem").filter(has_text=re.compile(part, re.I))
        expect(row).to_contain_text("ready")
    expect(page.get_by_role("region", name="Search index")).to_contain_text("efficientnet")
    model = page.get_by_role("row").filter(has_text="efficientnet-lite2")
    expect(model).to_contain_text(re.compile("INT8|FP32|FP16|BF16"))
    for chart in ("Throughput", "Latency", "Cache hit rate", "Queue", "Batch size", "Index lag"):
        expect(page.get_by_role("heading", name=chart)).to_be_visible()


def test_the_language_model_shows_its_slots_and_its_memory(
    chat_node: Any, open_console: OpenConsole
) -> None:
    page = open_console(chat_node.url, "live")
    for chart in ("Chat slots", "Tokens written"):
        expect(page.get_by_role("heading", name=chart)).to_be_visible()
    with chat_node.client() as client:
        generation = client.get("/api/status").json()["generation"]
    card = page.get_by_role("region", name="Language model")
    expect(card).to_contain_text(generation["model"])
    expect(card).to_contain_text(f"of {generation['slots']} in use")
    row = page.get_by_role("row").filter(has_text=generation["model"])
    expect(row).to_contain_text("text-generation")
    expect(row).to_contain_text("ready")
    expect(row).to_contain_text(re.compile(r"\d [MG]B"))


def test_a_node_that_is_gone_is_said_to_be_and_its_return_noticed(
    new_node: Any, open_console: OpenConsole, problems: Problems, photo: Photo
) -> None:
    problems.expect("ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE")
    problems.expect("status of 503")  # The models load while the node answers already.
    node = new_node()
    page = open_console(node.url)
    choose(page, photo(1))
    expect_answer(page)
    node.kill()
    page.get_by_role("button", name="Again").click()
    expect(page.get_by_role("alert")).to_contain_text("The node does not answer")
    expect(page.get_by_role("alert")).to_contain_text("skerry up")
    expect(page.get_by_role("link", name="Node: Offline")).to_be_visible()
    expect(page.get_by_text("Waiting for the node")).to_be_visible()
    new_node("data", flags=("--port", node.url.rpartition(":")[2]))
    # Nobody has to ask again: the photo is recognised once the node is back.
    expect_answer(page)
    expect(page.get_by_role("link", name="Node: Ready")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_page_opened_before_the_node_answers_can_try_again(
    node: Any, open_console: OpenConsole, problems: Problems
) -> None:
    problems.expect("ERR_FAILED|Failed to load")
    page = open_console(node.url, "live")
    expect(page.get_by_role("heading", name="Throughput")).to_be_visible()
    page.route("**/api/session", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The node does not answer")
    page.unroute("**/api/session")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Throughput")).to_be_visible()
