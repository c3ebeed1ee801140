"""Texts become token ids, and none is shortened that did not ask for it."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from skerry.errors import BadRequest, ContextLengthExceeded, ModelUnavailable
from skerry.media.tokens import MAX_WINDOWS, Tokens
from tiny_encoder import CLS, MASK, MAX_TOKENS, SEP, tiny_tokenizer

CONTENT = MAX_TOKENS - 2


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    tiny_tokenizer().save(str(path))
    return Tokens(path, max_tokens=MAX_TOKENS)


def ids_of(words: str) -> list[int]:
    vocabulary = tiny_tokenizer().get_vocab()
    return [vocabulary[word] for word in words.split()]


def test_a_text_gets_the_models_special_tokens_and_no_padding(tokens: Tokens) -> None:
    assert tokens.encode(["the cat", "Harbour"]) == [
        [CLS, *ids_of("the cat"), SEP],
        [CLS, *ids_of("harbour"), SEP],
    ]


def test_the_tokenizers_own_truncation_is_off(tokens: Tokens) -> None:
    assert len(tokens.encode(["a " * CONTENT])[0]) == MAX_TOKENS


def test_special_tokens_inside_a_text_stay_text(tokens: Tokens) -> None:
    (ids,) = tokens.encode(["the [CLS] cat [SEP] [MASK]"])
    inside = ids[1:-1]
    assert not {CLS, SEP, MASK} & set(inside)
    assert inside == ids_of("the [ cls ] cat [ sep ] [ mask ]")


def test_an_empty_text_is_its_special_tokens(tokens: Tokens) -> None:
    assert tokens.encode(["", "  \n"]) == [[CLS, SEP], [CLS, SEP]]


def test_an_empty_text_without_special_tokens_is_refused(tmp_path: Path) -> None:
    bare = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    bare.save(str(tmp_path / "tokenizer.json"))
    tokens = Tokens(tmp_path / "tokenizer.json", max_tokens=4)
    assert tokens.encode(["a b"]) == [[0, 1]]
    with pytest.raises(BadRequest, match="Text 1 is empty"):
        tokens.encode(["a", ""])


def test_half_a_surrogate_pair_is_refused_and_named(tokens: Tokens) -> None:
    with pytest.raises(BadRequest, match=r"Text 1 .*surrogate.* character 4"):
        tokens.encode(["the cat", "the \ud800 cat"])


def test_a_text_beyond_the_window_is_refused_with_its_length(tokens: Tokens) -> None:
    with pytest.raises(ContextLengthExceeded, match=f"Text 1 is 23 tokens.* {MAX_TOKENS} tokens"):
        tokens.encode(["the cat", "cat " * 21])


def test_a_text_that_fills_the_window_is_not_refused(tokens: Tokens) -> None:
    assert tokens.windows(["cat " * CONTENT]) == [[[CLS, *ids_of("cat") * CONTENT, SEP]]]


def test_split_gives_windows_that_join_to_the_whole(tokens: Tokens) -> None:
    words = ("the cat sat on the mat " * 9).strip()
    (windows,) = tokens.windows([words], long="split")
    assert [len(window) for window in windows] == [16, 16, 16, 54 - 3 * CONTENT + 2]
    assert all((window[0], window[-1]) == (CLS, SEP) for window in windows)
    joined = [token for window in windows for token in window[1:-1]]
    assert joined == ids_of("the cat sat on the mat") * 9


def test_cut_keeps_the_beginning(tokens: Tokens) -> None:
    long = "the harbour is calm this morning and " * 4000
    (ids,) = tokens.encode([long], long="cut")
    assert (len(ids), ids[0], ids[-1]) == (MAX_TOKENS, CLS, SEP)
    assert ids[1:8] == ids_of("the harbour is calm this morning and")


def test_cut_reads_past_white_space_to_fill_the_window(tokens: Tokens) -> None:
    (ids,) = tokens.encode([" " * 50_000 + "the cat sat"], long="cut")
    assert ids == [CLS, *ids_of("the cat sat"), SEP]


@pytest.mark.parametrize("long", ["refuse", "split"])
def test_ten_megabytes_are_refused_in_no_time(tokens: Tokens, long: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ContextLengthExceeded, match="10000000 characters"):
        tokens.windows(["cat " * 2_500_000], long=long)  # type: ignore[arg-type]
    assert time.perf_counter() - began < 1


def test_white_space_within_reason_does_not_count(tokens: Tokens) -> None:
    assert len(tokens.encode(["the" + " " * 1000 + "cat"])[0]) == 4


def test_more_windows_than_the_most_are_refused(tokens: Tokens) -> None:
    with pytest.raises(ContextLengthExceeded, match=f"at most {MAX_WINDOWS} windows"):
        tokens.windows(["a " * (CONTENT * MAX_WINDOWS + 1)], long="split")
    assert len(tokens.windows(["a " * CONTENT * MAX_WINDOWS], long="split")[0]) == MAX_WINDOWS


def test_many_texts_keep_their_order_and_their_numbers(tokens: Tokens) -> None:
    texts = [f"{'cat ' * (at % 5)}mat" for at in range(1000)]
    assert [len(ids) for ids in tokens.encode(texts)] == [at % 5 + 3 for at in range(1000)]
    texts[700] = "cat " * 100
    with pytest.raises(ContextLengthExceeded, match="Text 700"):
        tokens.encode(texts)


def test_token_arrays_get_special_tokens_where_they_lack_them(tokens: Tokens) -> None:
    (whole,) = tokens.encode(["the cat"])
    assert tokens.given(whole) == tokens.given(whole[1:-1]) == [whole]


@pytest.mark.parametrize("token", [-1, 10_000, True, 1.0, "7", None])
def test_a_token_that_is_none_of_the_models_is_refused(tokens: Tokens, token: object) -> None:
    with pytest.raises(BadRequest, match="Text 3"):
        tokens.given([5, token], number=3)  # type: ignore[list-item]


def test_a_token_array_is_held_to_the_window_like_a_text(tokens: Tokens) -> None:
    with pytest.raises(ContextLengthExceeded):
        tokens.given([5] * (CONTENT + 1))
    assert len(tokens.given([5] * (CONTENT + 1), long="split")) == 2
    assert [len(window) for window in tokens.given([5] * 99, long="cut")] == [MAX_TOKENS]


def test_a_damaged_tokenizer_is_unavailable_and_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json"):
        Tokens(tmp_path / "tokenizer.json", max_tokens=4)


def test_a_window_without_room_is_refused(tmp_path: Path) -> None:
    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelUnavailable, match="no room"):
        Tokens(tmp_path / "tokenizer.json", max_tokens=2)


@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_is_windows_or_a_domain_error(tokens: Tokens, text: str) -> None:
    for long in ("refuse", "split", "cut"):
        try:
            (windows,) = tokens.windows([text], long=long)  # type: ignore[arg-type]
        except BadRequest:
            continue
        assert all(2 <= len(window) <= MAX_TOKENS for window in windows)


def test_places_of_tokens_are_found_while_others_use_the_interpreter(tokens: Tokens) -> None:
    told: list[str] = []
    turn = threading.Lock()

    def other() -> None:
        with turn:
            told.append("was let in")

    before = sys.getswitchinterval()
    thread = threading.Thread(target=other)
    with turn:
        thread.start()
        # From here on nobody gets the interpreter unless it is given up.
        sys.setswitchinterval(1_000)
    try:
        tokens.starts("the cat sat on the mat " * 20_000)
        assert told
    finally:
        sys.setswitchinterval(before)
        thread.join()
