"""A GGUF header is read whole, and a wrong or hostile one is refused in bounded time and memory."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.errors import ModelInvalid
from skerry.models.gguf import GgufHeader, read_gguf

from .gguf_making import (
    ARRAY,
    F32,
    I32,
    STRING,
    TEMPLATE,
    TENSORS,
    U32,
    U64,
    VALUES,
    gguf_bytes,
    text,
    without,
    write_gguf,
)

HUGE = (1 << 64) - 1
WHOLE = gguf_bytes()
HEADER_BYTES = len(WHOLE) - 1024


def read(tmp_path: Path, data: bytes) -> GgufHeader:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    return read_gguf(path)


@pytest.mark.parametrize("version", [2, 3])
def test_a_right_file_is_read(tmp_path: Path, version: int) -> None:
    header = read_gguf(write_gguf(tmp_path / "m.gguf", version=version))
    assert (header.version, header.architecture, header.name) == (version, "llama", "Tiny")
    assert (header.context, header.vocabulary, header.tokenizer) == (128, 4, "gpt2")
    assert (header.bos_id, header.eos_ids) == (0, (1,))
    assert header.special_tokens == ("<|im_start|>", "<|im_end|>")
    assert header.command_ids == (0, 1)
    assert (header.quantisation, header.parameters, header.weight_bytes) == ("F32", 256, 1024)
    assert header.attention.key_values == 2 * 2 * (8 + 8)
    assert (header.template, header.tools, header.license) == (TEMPLATE, False, "mit")


def test_a_template_that_mentions_tools_has_tools(tmp_path: Path) -> None:
    template = "{% if tools %}{{ tools | tojson }}{% endif %}"
    header = read(tmp_path, gguf_bytes(VALUES | {"tokenizer.chat_template": (STRING, template)}))
    assert header.tools


def test_a_model_without_a_template_has_no_chat(tmp_path: Path) -> None:
    header = read(tmp_path, gguf_bytes(without("tokenizer.chat_template")))
    assert (header.template, header.tools) == ("", False)


def test_heads_may_be_listed_for_each_layer(tmp_path: Path) -> None:
    listed = (ARRAY, I32, [1, 4])
    values = VALUES | {"llama.attention.head_count_kv": listed}
    assert read(tmp_path, gguf_bytes(values)).attention.key_values == 2 * 4 * (8 + 8)


def tensor(name: str = "t", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0):
    return (name, shape, kind, offset)


WRONG = {
    "nothing": b"",
    "another format": b"PK\x03\x04" + WHOLE[4:],
    "version 1": gguf_bytes(version=1),
    "version of tomorrow": gguf_bytes(version=4),
    "big-endian": b"GGUF" + struct.pack(">I", 3) + WHOLE[8:],
    "more tensors than can be": gguf_bytes(counts=(HUGE, len(VALUES))),
    "more tensors than there are": gguf_bytes(counts=(60_000, len(VALUES))),
    "more keys than can be": gguf_bytes(counts=(2, HUGE)),
    "more keys than there are": gguf_bytes(counts=(2, 4000)),
    "no tensors": gguf_bytes(tensors=[]),
    "a string without end": WHOLE[:24] + struct.pack("<Q", HUGE) + WHOLE[32:],
    "a key that is no text": gguf_bytes({**VALUES, "x": (STRING, b"\xff\xfe")}),
    "an array without end": gguf_bytes({**VALUES, "x": (ARRAY, 0, [])}).replace(
        text("x") + struct.pack("<IIQ", ARRAY, 0, 0),
        text("x") + struct.pack("<IIQ", ARRAY, 0, HUGE),
    ),
    "arrays within arrays": gguf_bytes(
        {**VALUES, "x": (ARRAY, ARRAY, [(ARRAY, [(ARRAY, [(0, [1])])])])}
    ),
    "a value of an unknown type": gguf_bytes().replace(
        text("general.name") + struct.pack("<I", STRING),
        text("general.name") + struct.pack("<I", 99),
    ),
    "a key twice": gguf_bytes().replace(text("general.license"), text("general.name") + b"\0\0\0"),
    "no architecture": gguf_bytes(without("general.architecture")),
    "an architecture that is a number": gguf_bytes(VALUES | {"general.architecture": (U32, 7)}),
    "no context": gguf_bytes(without("llama.context_length")),
    "no room in its context": gguf_bytes(VALUES | {"llama.context_length": (U32, 0)}),
    "an endless context": gguf_bytes(VALUES | {"llama.context_length": (U64, HUGE)}),
    "a context that is no whole number": gguf_bytes(VALUES | {"llama.context_length": (F32, 8.0)}),
    "no heads": gguf_bytes(VALUES | {"llama.attention.head_count": (U32, 0)}),
    "kinds of other tokens": gguf_bytes(
        VALUES | {"tokenizer.ggml.token_type": (ARRAY, I32, [3, 3, 1])}
    ),
    "no tokenizer": gguf_bytes(without("tokenizer.ggml.tokens")),
    "an end that is no token": gguf_bytes(VALUES | {"tokenizer.ggml.eos_token_id": (U32, 4)}),
    "an odd alignment": gguf_bytes(VALUES | {"general.alignment": (U32, 48)}),
    "no alignment": gguf_bytes(VALUES | {"general.alignment": (U32, 0)}),
    "one part of several": gguf_bytes(VALUES | {"split.count": (U32, 3)}),
    "a tensor of no dimensions": gguf_bytes(tensors=[tensor(shape=())]),
    "a tensor of many dimensions": gguf_bytes(tensors=[tensor(shape=(1,) * 5)]),
    "an empty tensor": gguf_bytes(tensors=[tensor(shape=(0, 4))]),
    "a tensor whose size overflows": gguf_bytes(tensors=[tensor(shape=(1 << 33, 1 << 31))]),
    "a tensor larger than the file": gguf_bytes(tensors=[tensor(shape=(1 << 20,))]),
    "an offset beyond the file": gguf_bytes(tensors=[tensor(offset=1 << 40)]),
    "an offset that overflows": gguf_bytes(tensors=[tensor(offset=HUGE - 31)]),
    "an odd offset": gguf_bytes(tensors=[tensor(offset=4)]),
    "tensors on top of each other": gguf_bytes(tensors=[TENSORS[0], ("b", (32,), 0, 256)]),
    "two tensors of one name": gguf_bytes(tensors=[tensor(), tensor(offset=128)]),
    "a type nobody knows": gguf_bytes(tensors=[tensor(kind=200)]),
    "rows that are no blocks": gguf_bytes(tensors=[tensor(shape=(48,), kind=2)]),
    "data cut short": WHOLE[:-1],
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused(tmp_path: Path, case: str) -> None:
    with pytest.raises(ModelInvalid, match=r"m\.gguf"):
        read(tmp_path, WRONG[case])


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for end in range(0, len(WHOLE), 7):
        with pytest.raises(ModelInvalid):
            read(tmp_path, WHOLE[:end])


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="No such file"):
        read_gguf(tmp_path / "absent.gguf")


def test_what_the_file_says_cannot_steer_a_terminal(tmp_path: Path) -> None:
    name = "\x1b[2J\n"
    with pytest.raises(ModelInvalid) as caught:
        read(tmp_path, gguf_bytes(tensors=[tensor(name, offset=1 << 40)]))
    assert caught.value.message.isprintable()


def test_claims_cost_no_memory(tmp_path: Path) -> None:
    claims = WHOLE[:24] + struct.pack("<Q", 3 << 20) + WHOLE[32:]
    tracemalloc.start()
    try:
        with pytest.raises(ModelInvalid):
            read(tmp_path, claims)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


FUZZ = settings(
    max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERS = st.one_of(
    st.integers(0, HUGE),
    st.sampled_from([0, 1, 2, 7, 8, 9, 255, 1 << 16, 1 << 31, 1 << 32, 1 << 62, 1 << 63, HUGE]),
)
CHANGES = st.lists(st.tuples(st.integers(0, HEADER_BYTES - 8), NUMBERS, st.sampled_from("BIQ")))


def refused_or_read(tmp_path: Path, data: bytes) -> None:
    try:
        header = read(tmp_path, data)
    except ModelInvalid:
        return
    assert header.weight_bytes <= len(data)
    assert header.context > 0
    assert header.parameters > 0


@FUZZ
@given(changes=CHANGES, end=st.integers(0, len(WHOLE)) | st.just(len(WHOLE)))
def test_changed_numbers_are_refused_or_read(
    tmp_path: Path, changes: list[tuple[int, int, str]], end: int
) -> None:
    data = bytearray(WHOLE)
    for place, number, code in changes:
        size = struct.calcsize(code)
        struct.pack_into("<" + code, data, place, number % (1 << 8 * size))
    refused_or_read(tmp_path, bytes(data[:end]))


@FUZZ
@given(cuts=st.lists(st.tuples(st.integers(0, HEADER_BYTES), st.binary(max_size=64)), max_size=4))
def test_bytes_put_in_anywhere_are_refused_or_read(
    tmp_path: Path, cuts: list[tuple[int, bytes]]
) -> None:
    data = WHOLE
    for place, inserted in cuts:
        data = data[:place] + inserted + data[place:]
    refused_or_read(tmp_path, data)


@FUZZ
@given(rest=st.binary(max_size=512), counts=st.tuples(NUMBERS, NUMBERS))
def test_noise_after_a_right_beginning_is_refused(
    tmp_path: Path, rest: bytes, counts: tuple[int, int]
) -> None:
    refused_or_read(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, *counts) + rest)
