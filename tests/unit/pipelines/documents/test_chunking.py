"""Documents are cut to the model's window, and every chunk says what it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.media.tokens import Tokens
from skerry.media.words import index_terms
from skerry.pipelines.documents.chunking import CONTEXT_CHARACTERS, Source, cut, in_context
from skerry.sql.document_rows import NewDocument
from tiny_encoder import tiny_tokenizer

WINDOW = 16
SENTENCES = " ".join(f"The boat number {number} sails to the island." for number in range(20))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return made(tmp_path_factory.mktemp("tokens"), window=WINDOW)


def made(folder: Path, *, window: int) -> Tokens:
    path = folder / f"{window}.json"
    tiny_tokenizer().save(str(path))
    return Tokens(path, max_tokens=window)


def test_chunk_has_at_most_three_quarters_of_the_window(tokens: Tokens) -> None:
    cuts = cut(Source(NewDocument("a", SENTENCES)), tokens)
    lengths = [len(tokens.starts(one.text)) for one in cuts]
    assert len(cuts) > 10 and max(lengths) <= 3 * WINDOW // 4


def test_large_window_does_not_make_large_chunks(tmp_path: Path) -> None:
    tokens = made(tmp_path, window=4096)
    cuts = cut(Source(NewDocument("a", SENTENCES * 10)), tokens)
    assert 100 < max(len(tokens.starts(one.text)) for one in cuts) <= 200


def test_places_are_offsets_into_the_stored_text(tokens: Tokens) -> None:
    document = NewDocument("a", SENTENCES, title="Boats")
    for one in cut(Source(document), tokens):
        assert one.text == f"Boats\n{SENTENCES[one.place.start : one.place.end]}"


def test_title_and_heading_are_read_and_searched_with_every_chunk(tokens: Tokens) -> None:
    text = f"# Harbour\n\n{SENTENCES}"
    cuts = cut(Source(NewDocument("a", text, title="Almanac")), tokens)
    assert all(one.text.startswith("Almanac\n") and "Harbour" in one.text for one in cuts)
    assert all({"almanac", "harbour"} <= set(one.terms) for one in cuts)


def test_terms_are_those_of_the_text_that_the_model_reads(tokens: Tokens) -> None:
    for one in cut(Source(NewDocument("a", SENTENCES, title="Boats and boats")), tokens):
        assert one.terms == index_terms(one.text)


def test_pages_are_those_on_which_chunks_begin(tokens: Tokens) -> None:
    second = SENTENCES.index("The boat number 10")
    cuts = cut(Source(NewDocument("a", SENTENCES), pages=(0, second)), tokens)
    assert [one.place.page for one in cuts] == [1 + (one.place.start >= second) for one in cuts]
    assert {one.place.page for one in cuts} == {1, 2}


@pytest.mark.parametrize(
    ("title", "heading", "expected"),
    [
        (None, "", "seals sleep"),
        ("Rocks", "", "Rocks\nseals sleep"),
        ("Rocks", "Seals", "Rocks\nSeals\nseals sleep"),
        ("Rocks", "Rocks", "Rocks\nseals sleep"),
        ("seals", "", "seals sleep"),
        ("seals", "Rocks", "Rocks\nseals sleep"),
    ],
)
def test_only_what_a_chunk_does_not_show_itself_stands_above_it(
    title: str | None, heading: str, expected: str
) -> None:
    assert in_context("seals sleep", title=title, heading=heading) == expected


def test_long_title_leaves_room_and_stays_apart_from_the_text() -> None:
    above, body = in_context("seals sleep", title="x" * 2000, heading="Rocks").split("\n")
    assert (above, body) == ("x" * CONTEXT_CHARACTERS, "seals sleep")
