"""Text comes in whole characters, ends before stop strings, and keeps special tokens as text."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import BadRequest
from skerry.generation.base import Delta, Event, Finished, TokenLogprob
from skerry.generation.special_tokens import MARKS, Breaker, cut
from skerry.generation.text_stream import TextStream, held_back
from skerry.generation.tool_calls import ToolCallReader, with_calls

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|im_end|>>", "a>", "[INST]")


def read(pieces: list[bytes], *stop: str) -> tuple[str, bool]:
    stream = TextStream(stop)
    text = "".join(stream.feed(piece) for piece in pieces)
    return text + stream.finish(), stream.stopped


@given(text=st.text(max_size=40), data=st.data())
def test_text_cut_anywhere_comes_out_whole(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert read(pieces) == (text, False)


def test_a_character_is_given_when_its_last_byte_comes() -> None:
    stream = TextStream()
    assert [stream.feed(bytes([byte])) for byte in "a😀".encode()] == ["a", "", "", "", "😀"]


def test_half_a_character_at_the_end_is_dropped() -> None:
    assert read(["a😀".encode()[:-1]]) == ("a", False)


def test_bytes_that_are_no_text_are_marked() -> None:
    assert read([b"a\xff", b"b"]) == ("a�b", False)


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_stop_string_ends_the_text_however_it_is_cut(size: int) -> None:
    raw = b"one two STOP three"
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert read(pieces, "STOP", "three") == ("one two ", True)


def test_the_first_of_several_stop_strings_counts() -> None:
    assert read([b"a b c d"], "d", "b", "") == ("a ", True)


def test_what_only_began_like_a_stop_string_is_given() -> None:
    stream = TextStream(["STOP"])
    assert [stream.feed(b"x ST"), stream.feed(b"AR"), stream.feed(b" S")] == ["x ", "STAR", " "]
    assert stream.finish() == "S"


def test_nothing_is_given_after_the_stop_string() -> None:
    stream = TextStream(["."])
    assert stream.feed(b"a.b") == "a"
    assert (stream.feed(b"c"), stream.finish()) == ("", "")


def test_held_back_is_the_longest_beginning() -> None:
    assert held_back("xaab", ["aabc", "bz"]) == 3
    assert held_back("abc", ["abc"]) == 0


@given(st.lists(st.sampled_from([*SPECIAL, "<", "|im_", "end|>", "[IN", "ST]", " x "]), max_size=8))
def test_no_piece_of_a_text_holds_a_special_token(parts: list[str]) -> None:
    breaker, text = Breaker(SPECIAL), "".join(parts)
    mark = breaker.mark_for([text])
    pieces = cut(breaker.broken(text, mark), mark)
    assert "".join(pieces) == text
    assert not any(token in piece for piece in pieces for token in SPECIAL)


@pytest.mark.parametrize("text", ["<|im_", "end|>", "<", ">", "INST]", "a"])
def test_a_template_cannot_complete_a_special_token(text: str) -> None:
    breaker = Breaker(SPECIAL)
    mark = breaker.mark_for([text])
    for before, after in (("<|im_", "end|>"), ("<", "|im_end|>"), ("[", "]"), ("<|im_end|", ">")):
        rendered = f"{before}{breaker.broken(text, mark)}{after}"
        joined = before + text + after
        if any(token in joined for token in SPECIAL):
            pieces = cut(rendered, mark)
            assert "".join(pieces) == joined
            assert not any(token in piece for piece in pieces for token in SPECIAL)


def test_plain_text_is_not_cut() -> None:
    breaker = Breaker(SPECIAL)
    assert cut(breaker.broken("plain text, 1 b 2", MARKS[0]), MARKS[0]) == ["plain text, 1 b 2"]


def test_a_mark_that_json_escaped_is_found_again() -> None:
    breaker = Breaker(SPECIAL)
    broken = breaker.broken("<|im_end|>", MARKS[0])
    escaped = broken.replace(MARKS[0], "\\uFDD0")
    assert cut(escaped, MARKS[0]) == ["<", "|im_end|>"]


def test_a_text_with_marks_in_it_gets_another() -> None:
    breaker = Breaker(SPECIAL)
    assert breaker.mark_for([MARKS[0], "\\ufdd1"]) == MARKS[2]
    with pytest.raises(BadRequest):
        breaker.mark_for(MARKS)


def test_texts_within_json_are_broken_too() -> None:
    mark = MARKS[0]
    value = {"<|im_end|>": ["[INST]", 1, None]}
    assert Breaker(["<|im_end|>", "[INST]"]).broken_json(value, mark) == {
        f"<{mark}|im_end|>": [f"[{mark}INST]", 1, None]
    }


def calls_of(*pieces: str) -> tuple[str, list[tuple[str, str]]]:
    reader = ToolCallReader()
    text = "".join(reader.feed(piece) for piece in pieces)
    rest, calls = reader.finish()
    return text + rest, [(call.name, call.arguments) for call in calls]


def test_calls_between_tags_are_read_and_text_before_them_is_let_through() -> None:
    assert calls_of(
        "I look. <tool", '_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n',
        '<tool_call>{"name": "g"}</tool_call>',
    ) == ("I look. ", [("f", '{"a":1}'), ("g", "{}")])  # fmt: skip


def test_an_answer_that_is_a_call_as_a_whole_is_read() -> None:
    assert calls_of('{"name": "f", ', '"parameters": {"a": "b"}}') == ("", [("f", '{"a":"b"}')])


def test_of_a_single_call_what_comes_after_it_is_dropped() -> None:
    reader = ToolCallReader(single=True)
    pieces = ["I look. <tool_call>", '{"name": "f"}</tool', "_call>", "<tool_call>", '{"name":']
    full = []
    for piece in pieces:
        reader.feed(piece)
        full.append(reader.full)
    assert full == [False, False, True, True, True]
    rest, calls = reader.finish()
    assert (rest, [call.name for call in calls]) == ("", ["f"])


async def test_an_answer_that_is_a_call_is_told_by_its_end() -> None:
    told = [TokenLogprob(text="{", logprob=-1.0), TokenLogprob(text="}", logprob=-2.0)]
    end = Finished(reason="stop", prompt_tokens=3, completion_tokens=2, cached_tokens=1)

    async def events(*texts: str) -> AsyncGenerator[Event, None]:
        for text, logprob in zip(texts, told, strict=True):
            yield Delta(text=text, logprobs=(logprob,))
        yield end

    delta, last = [
        event async for event in with_calls(events('{"name": "f", ', '"arguments": {}}'))
    ]
    assert delta == Delta(text="", logprobs=tuple(told))
    assert isinstance(last, Finished)
    assert (last.reason, last.cached_tokens) == ("tool_calls", 1)
    assert [(call.name, call.arguments) for call in last.tool_calls] == [("f", "{}")]
    delta, last = [event async for event in with_calls(events('{"name": ', '"f", "argum'))]
    assert isinstance(delta, Delta)
    assert (delta.text, last) == ('{"name": "f", "argum', end)


@pytest.mark.parametrize(
    "said", ['{"no": "call"}', "{not json", "<tool_call>nonsense</tool_call>", "a <tool_ b", "<"]
)
def test_what_is_no_call_stays_text(said: str) -> None:
    assert calls_of(*said) == (said, [])
