"""Chat: an answer as it is written, its end by its reader, and what goes wrong."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

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
ENDLESS = "Count from one to one thousand in words, one a line."
STREAM = "**/v1/chat/completions"
# Chromium forgets the body of a stream; the page keeps a copy as it came.
COPIED = """() => {
  const plain = window.fetch;
  window.fetch = async (url, init) => {
    const response = await plain(url, init);
    if (init.method === "POST") response.clone().text().then((text) => { window.sent = text; });
    return response;
  };
}"""
SPOKEN = """() => {
  window.spoken = [];
  const region = document.querySelector("p[role=status][aria-live=polite]");
  const hear = () => region.textContent && window.spoken.push(region.textContent);
  const changes = { childList: true, characterData: true, subtree: true };
  new MutationObserver(hear).observe(region, changes);
}"""


def open_chat(open_console: OpenConsole, node: Any, *, tokens: int = 24, **options: Any) -> Any:
    """The Chat view, with answers of at most so many tokens."""
    page = open_console(node.url, "chat", **options)
    page.locator("summary").click()
    limit = page.get_by_label("Tokens at most")
    limit.fill(str(tokens))
    page.locator("summary").click()
    return page


def ask(page: Any, question: str) -> None:
    """Write a message and send it."""
    page.get_by_label("Message").fill(question)
    page.get_by_label("Message").press("Enter")


def answer_of(page: Any) -> Any:
    """The last answer's text."""
    return page.locator(".said-answer .said-text").last


def eventually(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)


def slots_in_use(client: Any) -> int:
    used: int = client.get("/api/status").json()["generation"]["busy"]
    return used


def refuse(page: Any, status: int, error: dict[str, str], *, retry_after_s: int) -> None:
    """Let the page meet an error of the node that a test cannot bring about in time."""
    body = json.dumps({"error": {"type": "server_error", "param": None, **error}})
    headers = {"retry-after": str(retry_after_s), "content-type": "application/json"}
    page.route(STREAM, lambda route: route.fulfill(status=status, body=body, headers=headers))


def test_an_answer_is_written_before_ones_eyes_and_its_figures_are_the_nodes(
    chat_node: Any, open_console: OpenConsole
) -> None:
    page = open_chat(open_console, chat_node, tokens=24)
    page.evaluate(COPIED)
    ask(page, "Tell me about the sea.")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    # Some of it is there while the rest is still to come.
    expect(answer_of(page).locator(".caret")).to_be_visible()
    assert answer_of(page).inner_text().strip()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    sent = page.wait_for_function("() => window.sent").json_value()
    events = [line[6:] for line in sent.splitlines() if line.startswith("data: {")]
    usage = json.loads(events[-1])["usage"]
    whole = "".join(
        choice["delta"].get("content", "") for e in events for choice in json.loads(e)["choices"]
    )
    assert answer_of(page).text_content() == whole
    figures = page.get_by_role("list", name="Figures of the answer")
    expect(figures).to_contain_text(re.compile(rf"\b{usage['completion_tokens']} tokens"))
    expect(figures).to_contain_text(f"prompt {usage['prompt_tokens']} tokens")
    expect(figures).to_contain_text(re.compile(r"[\d.]+ tokens/s"))
    expect(figures).to_contain_text(re.compile(r"first after [\d.]+ m?s"))
    expect(figures).not_to_contain_text("≈")


def test_stop_keeps_what_was_written_and_frees_the_slot_at_once(
    chat_node: Any, open_console: OpenConsole
) -> None:
    page = open_chat(open_console, chat_node, tokens=4000)
    with chat_node.client() as client:
        eventually(lambda: slots_in_use(client) == 0)
        ask(page, ENDLESS)
        expect(answer_of(page)).to_be_visible()
        assert slots_in_use(client) == 1
        page.get_by_role("button", name="Stop").click()
        eventually(lambda: slots_in_use(client) == 0, within_s=2)
    expect(page.get_by_text("stopped by you")).to_be_visible()
    assert answer_of(page).inner_text().strip()
    expect(page.get_by_label("Message")).to_be_focused()
    # The conversation goes on from there.
    ask(page, "Thank you.")
    expect(page.locator(".said-answer")).to_have_count(2)
    page.keyboard.press("Escape")


def test_the_keyboard_alone_is_enough(chat_node: Any, open_console: OpenConsole) -> None:
    page = open_console(chat_node.url, "chat")
    expect(page.get_by_label("Message")).to_be_focused()
    page.keyboard.type("First line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    question = page.locator(".said-question .said-text")
    assert question.text_content() == "First line\nsecond line"
    expect(page.get_by_label("Message")).to_have_value("")
    expect(answer_of(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("stopped by you")).to_be_visible()
    expect(page.get_by_label("Message")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("region", name="Conversation")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("System prompt")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="New chat")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Ask something")).to_be_visible()
    expect(page.get_by_label("Message")).to_be_focused()


def test_the_settings_go_with_the_question(chat_node: Any, open_console: OpenConsole) -> None:
    page = open_chat(open_console, chat_node, tokens=2)
    page.locator("summary").click()
    page.get_by_label("System prompt").fill("Answer in French.")
    # What was typed outlives the page's next look at the node's status.
    with page.expect_response("**/api/status"):
        pass
    with page.expect_response("**/api/status"):
        pass
    expect(page.get_by_label("Tokens at most")).to_have_value("2")
    page.get_by_role("slider", name="Temperature").fill("1.3")
    with page.expect_request(STREAM) as asked:
        ask(page, "Tell me a long story about the sea.")
    sent = asked.value.post_data_json
    assert sent["messages"] == [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": "Tell me a long story about the sea."},
    ]
    assert (sent["temperature"], sent["max_tokens"]) == (1.3, 2)
    assert sent["model"] == page.get_by_label("Model").input_value()
    expect(page.get_by_text("cut at the token limit")).to_be_visible()


def test_markup_stays_text(chat_node: Any, open_console: OpenConsole) -> None:
    page = open_chat(open_console, chat_node, tokens=2)
    ask(page, "<b>bold</b> **stars**\n    <img src=x onerror=alert(1)>")
    log = page.get_by_role("region", name="Conversation")
    expect(log).to_contain_text("<b>bold</b> **stars**")
    expect(log.locator("b, strong, img")).to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_screen_reader_hears_the_answer_once_and_whole(
    chat_node: Any, open_console: OpenConsole
) -> None:
    page = open_chat(open_console, chat_node)
    page.evaluate(SPOKEN)
    ask(page, "What is a lighthouse?")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.wait_for_function("() => window.spoken.length > 1")
    assert page.evaluate("window.spoken") == [
        "Waiting for the answer.",
        answer_of(page).text_content(),
    ]


def test_an_answer_goes_on_while_one_looks_at_its_slot(
    chat_node: Any, open_console: OpenConsole
) -> None:
    page = open_chat(open_console, chat_node, tokens=4000)
    ask(page, ENDLESS)
    expect(answer_of(page)).to_be_visible()
    before = len(answer_of(page).inner_text())
    page.get_by_role("link", name="Live").click()
    card = page.get_by_role("region", name="Language model")
    expect(card).to_contain_text(re.compile(r"[1-9] of \d+ in use"))
    page.get_by_role("link", name="Chat").click()
    page.wait_for_function(
        "least => document.querySelector('.said-answer .said-text').innerText.length > least",
        arg=before,
    )
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_conversation_beyond_the_context_is_refused_and_a_new_one_begun(
    chat_node: Any, open_console: OpenConsole, problems: Problems
) -> None:
    problems.expect("status of 400")
    page = open_chat(open_console, chat_node)
    ask(page, "sea " * 40_000)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("context")
    expect(alert).to_contain_text(re.compile("Shorten", re.I))
    alert.get_by_role("button", name="New chat").click()
    expect(page.get_by_text("Ask something")).to_be_visible()


def test_a_full_queue_says_when_to_come_back_and_the_question_is_kept(
    chat_node: Any, open_console: OpenConsole, problems: Problems
) -> None:
    problems.expect("status of 503")
    page = open_chat(open_console, chat_node, tokens=4)
    full = {
        "code": "overloaded",
        "message": "16 requests already wait for the language model.",
        "remedy": "Wait for the time in Retry-After and send the request again.",
        "request_id": "req_full",
    }
    refuse(page, 503, full, retry_after_s=7)
    ask(page, "Is anybody there?")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("16 requests already wait")
    expect(alert).to_contain_text("Try again in 7 s.")
    expect(alert).to_contain_text("req_full")
    page.unroute(STREAM)
    alert.get_by_role("button", name="Try again").click()
    expect(answer_of(page)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".said-question")).to_have_text("YouIs anybody there?")


def test_a_model_that_is_still_being_pulled_is_said_to_be(
    chat_node: Any, open_console: OpenConsole, problems: Problems
) -> None:
    problems.expect("status of 503")
    status = chat_node.client().get("/api/status").json()
    for model in status["models"]:
        if model["task"] == "text-generation":
            model.update(state="pulling", reason="61 of 145 MB")
    page = open_console(chat_node.url)
    page.route("**/api/status", lambda route: route.fulfill(json=status))
    pulled = {
        "code": "model_unavailable",
        "message": "The model is still being brought to this machine.",
        "remedy": "See /api/status for how far it is.",
        "request_id": "req_pull",
    }
    refuse(page, 503, pulled, retry_after_s=5)
    page.get_by_role("link", name="Chat").click()
    expect(page.get_by_text("is still on its way to this node.")).to_be_visible()
    expect(page.get_by_text("61 of 145 MB")).to_be_visible()
    ask(page, "Hello")
    expect(page.get_by_role("alert")).to_contain_text("still being brought to this machine")
    expect(page.get_by_role("alert")).to_contain_text("Try again in 5 s.")
    # Once it is here the notice goes, and nobody has to reload the page.
    page.unroute("**/api/status")
    expect(page.get_by_text("is still on its way")).to_have_count(0)


def test_an_answer_that_breaks_off_keeps_what_came(
    chat_node: Any, open_console: OpenConsole, problems: Problems
) -> None:
    page = open_chat(open_console, chat_node)
    # The node's own bytes, but without their end.
    cut = 'data: {"choices":[{"index":0,"delta":{"content":"Half an ans"}}]}\n\n'
    headers = {"content-type": "text/event-stream"}
    page.route(STREAM, lambda route: route.fulfill(status=200, body=cut, headers=headers))
    ask(page, "Hello")
    expect(page.get_by_role("alert")).to_contain_text("The answer broke off")
    expect(answer_of(page)).to_have_text("Half an ans")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_in_a_chat(
    chat_node: Any, open_console: OpenConsole, problems: Problems, scheme: str
) -> None:
    problems.expect("status of 503")
    page = open_chat(
        open_console, chat_node, tokens=8, color_scheme=scheme, reduced_motion="reduce"
    )
    assert_accessible(page)
    ask(page, "Hello")
    expect(page.get_by_text("first after")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.locator("summary").click()
    full = {"code": "overloaded", "message": "Full.", "remedy": "Wait.", "request_id": "req_full"}
    refuse(page, 503, full, retry_after_s=7)
    ask(page, "Hello again")
    expect(page.get_by_role("alert")).to_be_visible()
    assert_accessible(page)


def test_a_chat_fits_a_phone(chat_node: Any, open_console: OpenConsole) -> None:
    page = open_chat(
        open_console, chat_node, tokens=8, viewport=PHONE, has_touch=True, is_mobile=True
    )
    ask(page, "a-very-long-word-without-a-space" * 12)
    expect(page.get_by_text("first after")).to_be_visible()
    assert page_width(page) <= PHONE["width"]
    # What one writes in stays in sight, above the tabs.
    field = page.get_by_label("Message").bounding_box()
    tabs = page.get_by_role("navigation").bounding_box()
    assert field is not None
    assert tabs is not None
    assert field["y"] + field["height"] <= tabs["y"]
