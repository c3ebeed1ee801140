"""Documents: found as one types, asked for answers with their places, added and deleted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from console_page import (
    PHONE,
    OpenConsole,
    Problems,
    assert_accessible,
    drop,
    page_width,
    sync_api,
)

expect = sync_api.expect
MANUAL = {
    "filter.md": "# Filters\n\nTo change the filter of the P3 pump, unscrew the lid and lift the "
    "filter out. A new filter lasts for six months.",
    "noise.md": "# Noises\n\nA rattling pump has air in its pipe. Open the valve on top until "
    "water comes out.\n\n## Humming\n\nA humming pump is in order.",
}
RATTLE = "Why does my pump rattle?"
LONG_WORD = "a-very-long-word-without-a-space" * 6
STORED_S = 60.0


def store(node: Any, category: str, texts: dict[str, str], **fields: Any) -> None:
    """Store documents under ids of this test's own."""
    documents = [
        {"id": f"{category}/{name}", "text": text, "category": category, **fields}
        for name, text in texts.items()
    ]
    with node.client() as client:
        answer = client.post("/api/documents", json=documents, timeout=STORED_S)
    assert answer.status_code in (200, 201), answer.text


def stored(node: Any, category: str) -> dict[str, Any]:
    """The documents of the category by id."""
    with node.client() as client:
        answer = client.get("/api/documents", params={"category": category})
    return {document["id"]: document for document in answer.json()["documents"]}


def search_box(page: Any) -> Any:
    return page.get_by_role("searchbox", name="Search the documents")


def results(page: Any) -> Any:
    return page.get_by_role("list", name="Passages found").get_by_role("listitem")


def panel_mark(page: Any) -> Any:
    return page.get_by_role("dialog").locator("mark")


def ask(page: Any, question: str) -> Any:
    """Ask, and give the answer's card once the answer is whole."""
    page.get_by_label("Question").fill(question)
    with page.expect_response("**/api/ask") as answered:
        page.get_by_role("button", name="Ask", exact=True).click()
    assert answered.value.headers["content-type"].startswith("text/event-stream")
    card = page.get_by_role("region", name="Answer")
    expect(card.get_by_role("list", name="Figures of the answer")).to_be_visible()
    expect(card).to_have_attribute("aria-busy", "false")
    return card


def add_files(page: Any, *paths: Path, category: str) -> Any:
    """Add files by the button; gives the list of uploads."""
    page.get_by_label("Documents to store", exact=True).set_input_files(paths)
    dialog = page.get_by_role("dialog", name="Add")
    dialog.get_by_label("Category", exact=True).fill(category)
    dialog.get_by_role("button", name="Store").click()
    return page.get_by_role("complementary", name="Uploads of documents")


def test_passages_appear_as_one_types_with_their_words_marked(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    store(text_node, owner, MANUAL, title="The manual")
    page = open_console(text_node.url, f"documents?category={owner}")
    expect(search_box(page)).to_be_focused()
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if r.url.endswith("/api/search") else None)
    search_box(page).press_sequentially("rattling pump", delay=15)
    first = results(page).first
    expect(first.get_by_role("heading")).to_have_text("The manual")
    expect(first.locator("mark").first).to_have_text("rattling")
    expect(first).to_contain_text("Noises")
    expect(first.locator(".result-score")).to_have_text(re.compile(r"^Score -?\d+\.\d\d$"))
    expect(page).to_have_url(re.compile("q=rattling(\\+|%20)pump"))
    assert len(asked) < len("rattling pump") / 2
    page.reload()
    expect(search_box(page)).to_have_value("rattling pump")
    expect(results(page).first.locator("mark").first).to_have_text("rattling")


def test_an_older_answer_never_replaces_a_newer_one(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    store(text_node, owner, MANUAL)
    page = open_console(text_node.url, f"documents?category={owner}&mode=keyword")
    held: list[Any] = []

    def hold(route: Any) -> None:
        if '"humming"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/search", hold)
    with page.expect_request("**/api/search"):
        search_box(page).fill("humming")
    search_box(page).fill("lid")
    expect(results(page)).to_have_count(1)
    expect(results(page).first.locator("mark")).to_have_text("lid")
    held[0].continue_()
    with page.expect_response("**/api/search"):
        search_box(page).press("Enter")
    expect(results(page).first.locator("mark")).to_have_text("lid")


def test_categories_filter_and_stay_to_choose_from(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    for name in ("a", "b"):
        store(text_node, f"{owner}-{name}", {"x": f"The quokkaphone {owner} of shop {name}."})
    page = open_console(text_node.url, f"documents?mode=keyword&q=quokkaphone+{owner}")
    chips = page.get_by_role("list", name="Categories")
    one = chips.get_by_role("button", name=f"{owner}-a")
    expect(one).to_have_text(re.compile("1$"))
    expect(results(page)).to_have_count(2)
    one.click()
    expect(one).to_have_attribute("aria-pressed", "true")
    expect(results(page)).to_have_count(1)
    expect(results(page).first).to_contain_text("shop a")
    chips.get_by_role("button", name=f"{owner}-b").click()
    expect(results(page).first).to_contain_text("shop b")
    chips.get_by_role("button", name=f"{owner}-b").click()
    expect(results(page)).to_have_count(2)


def test_dates_and_metadata_narrow_a_search(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    for number, kind in enumerate(("book", "book", "note")):
        text = {f"{number}": f"The bilbyscope number {number}."}
        noon = 1_767_268_800 + number * 86_400  # from the first of January 2026 on
        store(text_node, owner, text, timestamp=noon, metadata={"kind": kind, "year": number})
    page = open_console(text_node.url, "documents?mode=keyword&q=bilbyscope")
    expect(results(page)).to_have_count(3)
    page.get_by_text("Narrow by").click()
    kinds = page.get_by_role("list", name="kind")
    expect(kinds.get_by_role("button", name="book")).to_have_text(re.compile("2$"))
    kinds.get_by_role("button", name="book").click()
    expect(results(page)).to_have_count(2)
    expect(kinds.get_by_role("button", name="note")).to_be_visible()
    years = page.get_by_role("list", name="year")
    expect(years.get_by_role("button")).to_have_count(2)
    years.get_by_role("button", name=re.compile("^1 ")).click()
    expect(results(page)).to_have_count(1)
    expect(results(page).first).to_contain_text("number 1")
    page.reload()
    expect(kinds.get_by_role("button", name="book")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Clear all").click()
    expect(results(page)).to_have_count(3)
    page.get_by_label("Dated from").fill("2026-01-02")
    expect(results(page)).to_have_count(2)
    page.get_by_label("Dated until").fill("2026-01-02")
    expect(results(page)).to_have_count(1)
    expect(results(page).first).to_contain_text("number 1")
    search_box(page).fill("nothing has this word")
    page.get_by_role("button", name="Search all documents").click()
    expect(page).not_to_have_url(re.compile("since="))


def test_modes_search_by_words_or_by_meaning(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    store(text_node, owner, MANUAL)
    page = open_console(text_node.url, f"documents?category={owner}&q=clattering+noise+of+a+motor")
    expect(results(page).first).to_contain_text("rattling")
    page.get_by_role("radio", name="Words").check()
    expect(page).to_have_url(re.compile("mode=keyword"))
    search_box(page).fill("clattering")
    expect(page.get_by_text("Nothing found for “clattering”")).to_be_visible()
    page.get_by_role("radio", name="Meaning").check()
    expect(results(page).first).to_contain_text("rattling")


def test_more_passages_follow_and_documents_can_be_told_once(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    store(text_node, owner, {f"{n}": f"The wombatmeter number {n}." for n in range(13)})
    page = open_console(text_node.url, f"documents?category={owner}&mode=keyword&q=wombatmeter")
    expect(results(page)).to_have_count(10)
    expect(page.get_by_text("The first 10 passages")).to_be_visible()
    page.get_by_role("button", name="Show more").click()
    expect(results(page)).to_have_count(13)
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    with page.expect_request("**/api/search") as asked:
        page.get_by_label("One passage a document").check()
    assert asked.value.post_data_json["group"] is True


def test_the_text_of_a_document_is_never_read_as_html(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    evil = "The numbatscript <img src=x onerror=alert(1)> <b>bold</b> & such."
    store(text_node, owner, {"evil": evil}, title="<i>Title</i>")
    page = open_console(text_node.url, f"documents?category={owner}&mode=keyword&q=numbatscript")
    expect(results(page).first.locator(".passage")).to_have_text(evil)
    results(page).first.get_by_role("button", name="<i>Title</i>").click()
    expect(page.get_by_role("dialog").get_by_role("region", name="Text")).to_have_text(evil)
    assert page.locator("main img, dialog img, dialog b, dialog i").count() == 0


def test_places_hold_after_characters_of_two_units(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    store(text_node, owner, {"sea": "🛟🛟🛟 Ahoy. 🦭 The lifebuoy hangs at the 🚪 door. 🛟 End."})
    page = open_console(text_node.url, f"documents?category={owner}&mode=keyword&q=lifebuoy")
    expect(results(page).locator("mark")).to_have_text("lifebuoy")
    page.goto(f"{text_node.url}/console#/documents?document={owner}%2Fsea&from=12&to=24")
    expect(panel_mark(page)).to_have_text("The lifebuoy")


def test_an_answer_is_streamed_and_its_source_opens_at_the_quoted_place(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    padding = "\n\n".join(f"Paragraph {n} is about something else." for n in range(80))
    store(text_node, owner, {"noise.md": f"{padding}\n\n{MANUAL['noise.md']}"}, title="Noises")
    page = open_console(text_node.url, f"documents?part=ask&category={owner}")
    card = ask(page, RATTLE)
    answer = "A rattling pump has air in its pipe."
    expect(card.locator(".answer-text")).to_contain_text(answer)
    expect(card.locator(".quote").first).to_contain_text(answer)
    expect(card).to_contain_text("in the documents’ own words")
    expect(page.get_by_role("status").filter(has_text=answer)).to_have_count(1)
    quote = card.locator(".quote").first.inner_text()
    card.get_by_role("button", name="Source 1").click()
    expect(panel_mark(page)).to_have_text(quote)
    expect(panel_mark(page)).to_be_in_viewport()
    expect(panel_mark(page)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(card.get_by_role("button", name="Source 1")).to_be_focused()


def test_what_the_documents_do_not_say_is_declined_with_the_reason(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    store(text_node, owner, MANUAL)
    page = open_console(text_node.url, f"documents?part=ask&category={owner}")
    card = ask(page, "Who won the football cup in 1974?")
    expect(card).to_contain_text("The documents don’t answer this.")
    expect(card).to_contain_text("the chance that they do is")
    expect(card.locator(".source")).to_have_count(0)
    page.get_by_label("Category").fill(f"not-{owner}")
    expect(page).to_have_url(re.compile(f"category=not-{owner}"))
    page.get_by_role("combobox", name="Answer").select_option("In the model’s words")
    declined = ask(page, RATTLE)
    expect(declined).to_contain_text("No stored document passes the filter.")
    expect(declined).not_to_contain_text("phrased by")


def test_a_model_may_phrase_the_answer(
    chat_node: Any, open_console: OpenConsole, owner: str
) -> None:
    store(chat_node, owner, MANUAL)
    page = open_console(chat_node.url, f"documents?part=ask&category={owner}")
    page.get_by_label("Answer", exact=True).select_option("In the model’s words")
    page.set_default_timeout(STORED_S * 1000)
    page.get_by_label("Question").fill(RATTLE)
    page.get_by_role("button", name="Ask", exact=True).click()
    card = page.get_by_role("region", name="Answer")
    figures = card.get_by_role("list", name="Figures of the answer")
    figures.wait_for()
    expect(figures).to_contain_text("phrased by")
    # So small a model may write nothing to some prompts: then that is said.
    wrote = card.locator(".answer-text").or_(card.get_by_text("The language model wrote nothing."))
    expect(wrote.first).to_be_visible()


def test_files_are_stored_with_a_status_each(
    text_node: Any, open_console: OpenConsole, owner: str, tmp_path: Path, problems: Problems
) -> None:
    problems.expect("status of 4")
    names = [f"{owner}-{name}" for name in ("new.md", "old.txt", "same.html", "bad.pdf")]
    paths = [tmp_path / name for name in names]
    paths[1].write_text("The old version.")
    paths[2].write_text("<title>Same</title><p>As it was.</p>")
    page = open_console(text_node.url, f"documents?part=library&category={owner}")
    tray = add_files(page, *paths[1:3], category=owner)
    expect(tray).to_contain_text("2 documents stored")
    paths[0].write_text(MANUAL["noise.md"])
    paths[1].write_text("The new version.")
    paths[3].write_bytes(b"%PDF-1.7 and then nothing")
    tray = add_files(page, *paths, category=owner)
    expect(tray).to_contain_text("1 document stored, 1 updated, 1 unchanged, 1 failed")
    rows = tray.get_by_role("listitem")
    expect(rows.filter(has_text=names[0])).to_contain_text(re.compile(r"stored, \d passage"))
    expect(rows.filter(has_text=names[1])).to_contain_text("updated")
    expect(rows.filter(has_text=names[2])).to_contain_text("unchanged")
    expect(rows.filter(has_text=names[3]).locator(".tray-error")).to_have_text(
        re.compile(r"\. \w+")
    )
    table = page.get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(4)
    expect(table.get_by_role("row").filter(has_text=names[2])).to_contain_text("Same")
    rows.filter(has_text=names[1]).get_by_role("button", name="updated").click()
    text = page.get_by_role("dialog").get_by_role("region", name="Text")
    expect(text).to_have_text("The new version.")


def test_a_folder_is_stored_by_its_paths_and_categories(
    text_node: Any, open_console: OpenConsole, owner: str, tmp_path: Path
) -> None:
    folder = tmp_path / f"{owner}-shop"
    for path in ("pumps/one.md", "pumps/deep/two.txt", "photo.jpg"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"About {path}.")
    page = open_console(text_node.url, "documents?part=library")
    page.get_by_label("Folder of documents to store").set_input_files(folder)
    dialog = page.get_by_role("dialog", name="Add 2 documents")
    expect(dialog).to_contain_text("1 other file left out")
    dialog.get_by_label("Category", exact=True).fill(owner)
    dialog.get_by_label("Each file’s folder is its category").check()
    dialog.get_by_role("button", name="Store 2 documents").click()
    tray = page.get_by_role("complementary", name="Uploads of documents")
    expect(tray).to_contain_text("2 documents stored")
    with text_node.client() as client:
        for path, category in (("pumps/one.md", "pumps"), ("pumps/deep/two.txt", "deep")):
            found = client.get(f"/api/documents/{folder.name}/{path}").json()
            assert (found["category"], found["text"]) == (category, f"About {path}.")


def test_a_dropped_file_becomes_a_document(
    text_node: Any, open_console: OpenConsole, owner: str, tmp_path: Path
) -> None:
    path = tmp_path / f"{owner}.txt"
    path.write_text("Dropped from above.")
    page = open_console(text_node.url, f"documents?part=library&category={owner}")
    expect(page.get_by_role("button", name="Add documents")).to_be_visible()
    drop(page, path, media_type="text/plain")
    dialog = page.get_by_role("dialog", name="Add 1 document")
    dialog.get_by_label("Category", exact=True).fill(owner)
    dialog.get_by_role("button", name="Store 1 document").click()
    expect(page.get_by_role("table")).to_contain_text(path.name)
    assert list(stored(text_node, owner)) == [path.name]


def test_documents_are_deleted_one_by_one_and_by_category(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    store(text_node, owner, {name: f"The potoroo {name}." for name in "abcd"})
    page = open_console(text_node.url, f"documents?part=library&category={owner}")
    table = page.get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(5)
    page.get_by_role("button", name=f"Delete {owner}/a").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(table.get_by_role("row")).to_have_count(4)
    table.get_by_role("button", name=f"{owner}/b", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete…").click()
    confirm = page.get_by_role("dialog", name="Delete this document?")
    confirm.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(table.get_by_role("row")).to_have_count(3)
    assert sorted(stored(text_node, owner)) == [f"{owner}/c", f"{owner}/d"]
    page.get_by_role("button", name="Delete them…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete 2 documents").click()
    expect(page.get_by_text(f"No document has the category “{owner}”")).to_be_visible()
    assert stored(text_node, owner) == {}


def test_a_long_document_is_shown_around_the_place(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    text = "\n\n".join(f"Paragraph {n} of many, and no more." for n in range(1500))
    store(text_node, owner, {"long": text})
    page = open_console(text_node.url, f"documents?document={owner}%2Flong&from=0&to=12")
    dialog = page.get_by_role("dialog")
    expect(panel_mark(page)).to_have_text("Paragraph 0 ")
    expect(dialog.get_by_text("Paragraph 1499 of")).to_have_count(0)
    dialog.get_by_role("button", name="Show what follows").click()
    expect(dialog.get_by_text("Paragraph 1499 of")).to_have_count(1)
    dialog.locator(".passages summary").click()
    dialog.locator(".passage-list button").nth(2).click()
    expect(panel_mark(page)).to_be_in_viewport()
    expect(page).not_to_have_url(re.compile("from=0&"))


def test_the_keyboard_alone_searches_and_reads(
    text_node: Any, open_console: OpenConsole, owner: str
) -> None:
    store(text_node, owner, MANUAL)
    page = open_console(text_node.url, f"documents?category={owner}")
    expect(search_box(page)).to_be_focused()
    page.keyboard.type("humming")
    page.keyboard.press("Enter")
    expect(results(page).first.locator("mark").first).to_have_text("humming", ignore_case=True)
    first = results(page).first.get_by_role("button")
    for _ in range(6):
        page.keyboard.press("Tab")
        if first.evaluate("button => button === document.activeElement"):
            break
    expect(first).to_be_focused()
    page.keyboard.press("Enter")
    expect(panel_mark(page)).to_contain_text("humming pump")
    page.keyboard.press("Escape")
    expect(first).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_in_documents(
    text_node: Any, open_console: OpenConsole, owner: str, scheme: str
) -> None:
    store(text_node, owner, MANUAL, metadata={"maker": "P3"})
    search = f"documents?category={owner}&q=rattling"
    page = open_console(text_node.url, search, color_scheme=scheme, reduced_motion="reduce")
    expect(results(page).first.locator("mark").first).to_be_visible()
    assert_accessible(page)
    results(page).first.get_by_role("button").click()
    expect(panel_mark(page)).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Escape")
    parts = page.get_by_role("navigation", name="Documents")
    parts.get_by_role("link", name="Library").click()
    expect(page.get_by_role("table")).to_be_visible()
    assert_accessible(page)
    parts.get_by_role("link", name="Ask").click()
    ask(page, RATTLE)
    assert_accessible(page)
    ask(page, "Who won the football cup in 1974?")
    assert_accessible(page)


def test_documents_fit_a_phone(text_node: Any, open_console: OpenConsole, owner: str) -> None:
    texts = {LONG_WORD: f"{MANUAL['noise.md']} {LONG_WORD}"}
    store(text_node, owner, texts, title=LONG_WORD)
    phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
    page = open_console(text_node.url, f"documents?category={owner}&q=rattling", **phone)
    expect(results(page)).to_have_count(1)
    assert page_width(page) <= PHONE["width"]
    results(page).first.get_by_role("button").click()
    expect(panel_mark(page)).to_be_visible()
    assert page_width(page) <= PHONE["width"]
    page.get_by_role("button", name="Close").click()
    parts = page.get_by_role("navigation", name="Documents")
    parts.get_by_role("link", name="Library").click()
    expect(page.get_by_role("table")).to_be_visible()
    assert page_width(page) <= PHONE["width"]
    parts.get_by_role("link", name="Ask").click()
    ask(page, RATTLE)
    assert page_width(page) <= PHONE["width"]
