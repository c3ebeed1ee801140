"""Words: what a reader would call the same word is one term, and its place in the text is exact."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.media.words import (
    ASCII_WORD,
    MAX_TERM_CHARACTERS,
    WORD,
    index_terms,
    query_terms,
    words,
)


def terms(text: str) -> list[str]:
    return [word.term for word in words(text)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Café", "cafe"),
        ("Café", unicodedata.normalize("NFD", "CAFÉ")),
        ("naïve façade", "NAIVE FACADE"),
        ("STRASSE", "Straße"),
        ("Łódź", "lodz"),
        ("İstanbul", "istanbul"),
        ("ﬁnance", "finance"),
        ("１２３ ＡＢＣ", "123 abc"),
        ("it’s", "it's"),
        ("Москва́", "москва"),
        ("Ἀθῆναι", "αθηναι"),
        ("كِتَاب", "كتاب"),
        ("ｶﾞｷﾞｸﾞ", "ガギグ"),
        (unicodedata.normalize("NFD", "가나다"), "가나다"),
        ("1,000,000", "1000000"),
    ],
)
def test_two_spellings_of_a_word_are_one_term(one: str, other: str) -> None:
    assert terms(one) == terms(other) != []


def test_english_endings_are_stemmed() -> None:
    assert terms("connected connections connecting") == ["connect"] * 3
    assert terms("the dog's dogs") == ["the", "dog", "dog"]


def test_voicing_and_vowel_marks_are_no_accents() -> None:
    assert terms("が") != terms("か")
    assert terms("कि") != terms("क")
    assert terms("हिन्दी") == ["हिन्दी"]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("東京都", ["東京", "京都"]),
        ("한국어", ["한국", "국어"]),
        ("ラーメン", ["ラー", "ーメ", "メン"]),
        ("水", ["水"]),
        ("「水」と「火」", ["水", "と", "火"]),
        ("iPhone手机", ["iphon", "手机"]),
    ],
)
def test_unspaced_scripts_are_cut_into_pairs_of_characters(text: str, pairs: list[str]) -> None:
    assert terms(text) == pairs


def test_an_index_has_the_last_character_of_each_run_too() -> None:
    assert index_terms("黒猫、東京都 abc é") == ["黒猫", "猫", "東京", "京都", "都", "abc", "e"]
    assert index_terms("水 seals") == ["水", "seal"]
    assert index_terms("two seals") == ["two", "seal"]


def test_numbers_and_identifiers_stay_whole() -> None:
    assert terms("3.14 v2 x86 2,5") == ["3.14", "v2", "x86", "2,5"]
    assert terms("call get_user_names()") == ["call", "get_user_names", "get", "user", "name"]
    assert terms("__init__ a-b utf-8 C++") == ["init", "a", "b", "utf", "8", "c"]


def test_places_are_those_in_the_text_as_given() -> None:
    text = "Ein cafe\u0301 in ½ Straße: 東京都, foo_bar."
    places = {word.term: text[word.start : word.end] for word in words(text)}
    assert places["cafe"] == "cafe\u0301"
    assert places["strass"] == "Straße"
    assert places["京都"] == "京都"
    assert places["foo"] == places["foo_bar"] == "foo_bar"
    half_width = "xｶﾞｷﾞ"
    assert [half_width[w.start : w.end] for w in words(half_width)] == ["x", "ｶﾞｷﾞ"]


def test_a_query_loses_the_commonest_words_and_repetitions() -> None:
    assert query_terms("What is the best way to run the Runs?") == ["best", "way", "run"]


def test_a_query_of_common_words_alone_keeps_them() -> None:
    assert query_terms("to be or not to be") == ["to", "be", "or", "not"]
    assert query_terms("?!") == []


def test_a_run_without_end_is_one_short_term() -> None:
    assert terms("a" * 1_000_000) == ["a" * MAX_TERM_CHARACTERS]
    assert len(terms("一" * 10_000)) == 9_999


@given(st.text(st.characters(max_codepoint=127)))
def test_the_quick_pattern_cuts_ascii_as_the_full_one_does(text: str) -> None:
    assert [m.span() for m in ASCII_WORD.finditer(text)] == [m.span() for m in WORD.finditer(text)]


@given(st.text())
def test_any_text_gives_terms_in_order_without_blanks(text: str) -> None:
    before = 0
    for term, start, end in words(text):
        assert term and not any(map(str.isspace, term))
        assert before <= start < end <= len(text)
        before = start
    assert [w.term for w in words(text)] == terms(text)
