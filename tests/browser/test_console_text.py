"""Texts classified and compared."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from console_page import (
    PHONE,
    OpenConsole,
    Problems,
    assert_accessible,
    page_width,
    sync_api,
)

expect = sync_api.expect
GOOD = "What a wonderful day, I love this little boat!"
SHIP, BOAT, TAX = (
    "The ship entered the harbour at dawn.",
    "A boat came into port early in the morning.",
    "Income tax is due at the end of March.",
)


def bars_of(page: Any) -> list[float]:
    """How far each bar of the classes is filled, 0 to 1, once they have stopped moving."""
    fills = page.get_by_role("region", name="Classify a text").locator(".bar-fill")
    expect(fills).to_have_count(3)
    shares: list[float] = fills.evaluate_all(
        "fills => fills.map(({ style }) => Number(style.transform.match(/\\((.+)\\)/)[1]))"
    )
    return shares


def compare(page: Any, first: str, second: str) -> float:
    """The number shown for two texts."""
    card = page.get_by_role("region", name="Compare two texts")
    card.get_by_label("First text").fill(first)
    card.get_by_label("Second text").fill(second)
    with page.expect_response("**/v1/embeddings"):
        card.get_by_role("button", name="Compare").click()
    expect(card.locator(".text-answer")).to_have_attribute("aria-busy", "false")
    return float(card.locator(".likeness-value strong").inner_text())


def test_a_text_gets_three_bars_that_sum_to_one(
    reading_node: Any, open_console: OpenConsole
) -> None:
    page = open_console(reading_node.url, "text")
    card = page.get_by_role("region", name="Classify a text")
    expect(card.get_by_role("button", name="Classify")).to_be_disabled()
    card.get_by_label("Text", exact=True).fill(GOOD)
    card.get_by_role("button", name="Classify").click()
    shares = bars_of(page)
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert shares == sorted(shares, reverse=True)
    with reading_node.client() as client:
        result = client.post("/api/classify", json={"text": GOOD}).json()["results"][0]
    expect(card.locator(".bar-name").first).to_have_text(result["label"])
    expect(card).to_contain_text(re.compile(r"[\d.]+ ms on the node"))
    expect(page.get_by_role("status").filter(has_text=result["label"])).to_have_count(1)


def test_a_text_beyond_the_window_is_read_in_parts_when_asked(
    reading_node: Any, open_console: OpenConsole, problems: Problems
) -> None:
    problems.expect("status of 400")
    page = open_console(reading_node.url, "text")
    card = page.get_by_role("region", name="Classify a text")
    card.get_by_label("Text", exact=True).fill(GOOD * 100)
    card.get_by_label("Text", exact=True).press("Enter")
    alert = card.get_by_role("alert")
    expect(alert).to_contain_text("tokens")
    alert.get_by_role("button", name="Read it in parts").click()
    assert sum(bars_of(page)) == pytest.approx(1, abs=1e-3)
    expect(card.get_by_role("alert")).to_have_count(0)


def test_two_texts_are_as_near_as_their_vectors(
    reading_node: Any, open_console: OpenConsole
) -> None:
    page = open_console(reading_node.url, "text")
    near = compare(page, SHIP, BOAT)
    words = page.locator(".likeness-value")
    expect(words).to_contain_text(re.compile("Close|related", re.I))
    far = compare(page, SHIP, TAX)
    expect(words).to_contain_text("Unrelated")
    with reading_node.client() as client:
        data = client.post("/v1/embeddings", json={"input": [SHIP, BOAT, TAX]}).json()["data"]
    ship, boat, tax = (np.array(entry["embedding"]) for entry in data)
    assert near == pytest.approx(float(ship @ boat), abs=2e-3)
    assert far == pytest.approx(float(ship @ tax), abs=2e-3)


def test_the_keyboard_alone_is_enough(reading_node: Any, open_console: OpenConsole) -> None:
    page = open_console(reading_node.url, "text")
    page.get_by_label("Text", exact=True).focus()
    page.keyboard.type("Terrible.")
    page.keyboard.press("Enter")
    assert sum(bars_of(page)) == pytest.approx(1, abs=1e-3)
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    page.get_by_label("First text").focus()
    page.keyboard.type(SHIP)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Second text")).to_be_focused()
    page.keyboard.type(SHIP)
    page.keyboard.press("Enter")
    expect(page.locator(".likeness-value")).to_have_text("1.000 Almost the same meaning")


def test_an_example_answers_at_one_click(reading_node: Any, open_console: OpenConsole) -> None:
    page = open_console(reading_node.url, "text")
    page.get_by_role("button", name="Terrible").click()
    assert sum(bars_of(page)) == pytest.approx(1, abs=1e-3)
    expect(page.locator(".bar-name").first).to_have_text("negative")
    page.get_by_role("button", name="Two sentences").click()
    expect(page.get_by_label("First text")).to_have_value(SHIP)
    expect(page.locator(".likeness-value strong")).to_have_text(re.compile(r"^0\.\d{3}$"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_in_texts(
    reading_node: Any, open_console: OpenConsole, scheme: str
) -> None:
    page = open_console(reading_node.url, "text", color_scheme=scheme, reduced_motion="reduce")
    expect(page.get_by_role("button", name="Compare")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Terrible").click()
    bars_of(page)
    compare(page, SHIP, BOAT)
    assert_accessible(page)


def test_texts_fit_a_phone(reading_node: Any, open_console: OpenConsole) -> None:
    page = open_console(reading_node.url, "text", viewport=PHONE, has_touch=True, is_mobile=True)
    page.get_by_label("Text", exact=True).fill("a-very-long-word-without-a-space" * 8)
    page.get_by_role("button", name="Classify").click()
    bars_of(page)
    compare(page, "a-very-long-word-without-a-space" * 8, SHIP)
    assert page_width(page) <= PHONE["width"]
