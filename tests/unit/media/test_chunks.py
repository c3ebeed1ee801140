"""Chunks: they hold the whole text, fit the window, and end where a reader would stop."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.media.chunks import CHARACTERS_PER_TOKEN, Chunk, chunk, sentences

MARKDOWN = """# Guide

Intro one. Intro two.

## Install

Step one is easy. Step two is not. Step three ends it.

## Use

Call it. Then wait."""


def tokens(text: str) -> list[int]:
    return [match.start() for match in re.finditer(r"\w+|[^\w\s]", text)]


def cut(text: str, **options: int) -> list[str]:
    return [text[c.start : c.end] for c in chunk(text, token_starts=tokens(text), **options)]


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One here. Two there! Three?", ["One here.", "Two there!", "Three?"]),
        ("Dr. Smith met J. Doe in the U.S. Senate.", ["Dr. Smith met J. Doe in the U.S. Senate."]),
        ("See Fig. 3 and No. 5. No. Never.", ["See Fig. 3 and No. 5.", "No.", "Never."]),
        (
            "It costs 3.14 e.g. today, i.e. now. Buy.",
            ["It costs 3.14 e.g. today, i.e. now.", "Buy."],
        ),
        ("He said “Go.” Then left.", ["He said “Go.”", "Then left."]),
        ("Wait... what? Yes... And no.", ["Wait... what?", "Yes...", "And no."]),
        (
            "今日は晴れ。明日は雨！「傘は？」はい。",
            ["今日は晴れ。", "明日は雨！", "「傘は？」", "はい。"],
        ),
        ("वह आया। वह गया।", ["वह आया।", "वह गया।"]),
        ("A line\nthat wraps. Next\nsentence", ["A line\nthat wraps.", "Next\nsentence"]),
        ("First\n\nSecond", ["First", "Second"]),
        ("1. Open it. Now.\n2. Shut it.", ["1. Open it.", "Now.", "2. Shut it."]),
        ("- a\n- b\n  goes on\n* c", ["- a", "- b\n  goes on", "* c"]),
        ("| a | b |\n| c. D | d |", ["| a | b |", "| c. D | d |"]),
        ("# A. B\nText. More.", ["# A. B", "Text.", "More."]),
        ("Title\n=====\nText", ["Title\n=====", "Text"]),
        ("", []),
        (" \n\t\n ", []),
    ],
)
def test_sentences_end_where_a_reader_would_say(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_code_is_one_piece_whatever_stands_in_it() -> None:
    fenced = "```rust\nlet a = 1. Then\n\n# not a heading\n~~~\n```"
    assert split(f"Before. It.\n{fenced}\nAfter.") == ["Before.", "It.", fenced, "After."]
    indented = "x = 1. Y\n    z = 2"
    assert split(f"Before.\n\n    {indented}\n\nAfter.") == ["Before.", indented, "After."]
    assert split("```\nnever. Closed") == ["```\nnever. Closed"]


def test_a_short_text_is_one_chunk_without_its_blanks() -> None:
    assert chunk("  Hello there. \n", token_starts=[2, 8, 13]) == [Chunk(2, 14, None, "")]
    assert chunk(" \n ", token_starts=[]) == chunk("", token_starts=[]) == []


def test_chunks_end_before_a_heading_and_repeat_nothing_from_above_it() -> None:
    assert cut(MARKDOWN, max_tokens=14, overlap=6) == [
        "# Guide\n\nIntro one. Intro two.",
        "## Install\n\nStep one is easy. Step two is not.",
        "Step two is not. Step three ends it.",
        "## Use\n\nCall it. Then wait.",
    ]


def test_each_chunk_has_the_heading_above_it() -> None:
    made = chunk(MARKDOWN, token_starts=tokens(MARKDOWN), max_tokens=18, overlap=4)
    for part in made:
        titles = re.findall(r"^#+ (\w+)", MARKDOWN[: part.start + 12], re.MULTILINE)
        assert part.heading == titles[-1]
    html = "<h1>Big <b>one</b></h1>\nText\n\n<H2 class='x'>Small</H2>\nMore"
    assert [
        c.heading for c in chunk(html, token_starts=tokens(html), max_tokens=20, overlap=0)
    ] == ["Big one", "Small"]
    fenced = "Text\n\n```\n# no heading\n```"
    assert [c.heading for c in chunk(fenced, token_starts=tokens(fenced))] == [""]


def test_neighbours_share_the_last_whole_sentences() -> None:
    text = " ".join(f"This is sentence number {n}." for n in range(30))
    made = chunk(text, token_starts=tokens(text), max_tokens=30, overlap=8)
    assert len(made) > 5
    for one, other in pairwise(made):
        shared = text[other.start : one.end]
        assert re.fullmatch(r"This is sentence number \d+\.", shared)


def test_without_overlap_nothing_is_told_twice() -> None:
    text = " ".join(f"Sentence number {n} is here." for n in range(30))
    assert " ".join(cut(text, max_tokens=20, overlap=0)) == text


def test_an_endless_sentence_is_cut_between_words_and_code_between_lines() -> None:
    endless = " ".join(f"word{n}" for n in range(100))
    for part in cut(endless, max_tokens=20, overlap=5):
        assert re.fullmatch(r"(?:word\d+ ?)+", part) and part[-1].isdigit()
    code = "```\n" + "\n".join(f"let a{n} = b" for n in range(40)) + "\n```"
    for part in cut(code, max_tokens=30, overlap=0)[1:-1]:
        assert all(re.fullmatch(r"let a\d+ = b", line) for line in part.splitlines())


def test_text_the_tokeniser_sees_as_one_word_is_cut_all_the_same() -> None:
    text = "x" * 100_000
    made = chunk(text, token_starts=[0], max_tokens=200, overlap=40)
    assert max(c.end - c.start for c in made) <= 200 * CHARACTERS_PER_TOKEN
    assert made[0].start == 0 and made[-1].end == len(text)


def test_page_is_the_one_a_chunk_begins_on() -> None:
    text = "\n\n".join(f"Page {n} has some words on it." for n in range(1, 9))
    starts = [match.start() for match in re.finditer("Page", text)]
    made = chunk(text, token_starts=tokens(text), max_tokens=16, overlap=0, pages=starts)
    assert [c.page for c in made] == [int(text[c.start + 5]) for c in made]
    assert len(made) > 2


def test_an_overlap_as_long_as_a_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        chunk("a", token_starts=[0], max_tokens=4, overlap=4)


def test_a_megabyte_on_one_line_is_cut_in_linear_time() -> None:
    line = "It goes on. And on, " * 50_000
    made = chunk(line, token_starts=tokens(line))
    assert made[-1].end == len(line.rstrip())
    blanks = " " * 1_000_000 + "end"
    assert [blanks[c.start : c.end] for c in chunk(blanks, token_starts=[1_000_000])] == ["end"]


PIECES = st.lists(
    st.sampled_from(
        ["word", "A.", "b. ", " ", "\n", "\n\n", "# T\n", "- x\n", "```\n", "    c\n", "|a|\n",
         "东。", "---\n", "<h1>q</h1>\n", "1. ", "long" * 60, "\t", "é", "?!"]
    ),
    max_size=60,
)  # fmt: skip


@given(PIECES, st.integers(2, 12), st.data())
def test_any_text_is_held_whole_in_chunks_that_fit(
    parts: list[str], max_tokens: int, data: st.DataObject
) -> None:
    text = "".join(parts)
    overlap = data.draw(st.integers(0, max_tokens - 1))
    starts = tokens(text)
    made = chunk(text, token_starts=starts, max_tokens=max_tokens, overlap=overlap)
    covered = set()
    for part in made:
        assert text[part.start : part.end].strip() == text[part.start : part.end] != ""
        assert sum(part.start <= start < part.end for start in starts) <= max_tokens
        covered.update(range(part.start, part.end))
    assert all(n in covered for n, c in enumerate(text) if not c.isspace())
    for one, other in pairwise(made):
        assert one.start < other.start and one.end < other.end


@given(st.text())
def test_sentences_hold_all_of_any_text_in_order(text: str) -> None:
    before = 0
    for start, end in sentences(text):
        assert before <= start < end and not text[before:start].strip()
        before = end
    assert not text[before:].strip()
