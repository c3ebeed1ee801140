"""Take numbers, texts and key/value pairs out of a GGUF header, each checked before it is read."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from skerry.errors import ModelInvalid

MAX_HEADER_BYTES = 96 << 20
"""A vocabulary of 262,144 tokens with its merges takes about 20 MB."""
MAX_ELEMENTS = 4 << 20
"""Of all arrays together: they are walked one by one."""
MAX_KEY_BYTES = 1024
MAX_TEXT_BYTES = 4 << 20
MAX_DEPTH = 3
READ_BYTES = 1 << 20
# Kind of a value -> how struct reads it. 8 is a string and 9 an array.
SCALARS = {
    kind: struct.Struct("<" + code)
    for kind, code in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
    }.items()
}  # fmt: skip
STRING, ARRAY = 8, 9
INTEGERS = (0, 1, 2, 3, 4, 5, 10, 11)
U32, U64 = struct.Struct("<I"), struct.Struct("<Q")
TOKENS, TOKEN_KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
MAX_LISTED = 4096
"""Longest list of numbers that is kept, such as one a layer."""
Scalar = int | float | bool | str


@dataclass(slots=True)
class Values:
    """The key/value pairs that were kept."""

    scalars: dict[str, Scalar] = field(default_factory=dict)
    numbers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Short lists of integers."""
    tokens: list[str] = field(default_factory=list)
    token_kinds: tuple[int, ...] = ()


class HeaderReader:
    """Reads forward through the header; ModelInvalid at the first thing that cannot be."""

    def __init__(self, file: BinaryIO, *, size: int, name: str) -> None:
        self.size = size
        self.position = 0
        self._file = file
        self._name = name
        self._data = bytearray()
        self._elements = 0

    def wrong(self, what: str, *, remedy: str = "Fetch the file again.") -> ModelInvalid:
        """The error for a file that `what`; names in it come from the file."""
        shown = "".join(letter if letter.isprintable() else "?" for letter in what)
        return ModelInvalid(f"{self._name} {shown}.", remedy=remedy)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        begin = self._advance(count)
        return bytes(self._data[begin : begin + count])

    def u32(self) -> int:
        """An unsigned number of 4 bytes."""
        return int(U32.unpack_from(self._data, self._advance(4))[0])

    def u64(self) -> int:
        """An unsigned number of 8 bytes."""
        return int(U64.unpack_from(self._data, self._advance(8))[0])

    def count(self, of: str, *, limit: int) -> int:
        """How many things follow; at most `limit`."""
        number = self.u64()
        if number > limit:
            raise self.wrong(f"claims {number} {of}")
        return number

    def text(self, *, limit: int = MAX_TEXT_BYTES) -> str:
        """A string, which has to be UTF-8."""
        data = self._string(limit)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.wrong("has a name or text that is not UTF-8") from error

    def values(self, count: int) -> Values:
        """The key/value pairs; of arrays only those that are used are kept."""
        values = Values()
        seen = set()
        for _ in range(count):
            key = self.text(limit=MAX_KEY_BYTES)
            if key in seen:
                raise self.wrong("has a key twice")
            seen.add(key)
            kind = self.u32()
            if kind == ARRAY:
                self._array(key, values)
            else:
                values.scalars[key] = self._scalar(kind)
        return values

    def _scalar(self, kind: int) -> Scalar:
        if kind == STRING:
            return self.text()
        layout = self._layout(kind)
        value: Scalar = layout.unpack_from(self._data, self._advance(layout.size))[0]
        return value

    def _array(self, key: str, values: Values) -> None:
        kind, length = self._array_begin()
        if key == TOKENS and kind == STRING:
            # A byte that is no UTF-8 of its own is a token in some vocabularies.
            strings = (self._string(MAX_TEXT_BYTES) for _ in range(length))
            values.tokens = [data.decode("utf-8", "replace") for data in strings]
        elif kind in INTEGERS and (key == TOKEN_KINDS or length <= MAX_LISTED):
            numbers = self._numbers(kind, length)
            if key == TOKEN_KINDS:
                values.token_kinds = numbers
            else:
                values.numbers[key] = numbers
        else:
            self._skip(kind, length, depth=1)

    def _array_begin(self) -> tuple[int, int]:
        kind, length = self.u32(), self.u64()
        self._elements += length
        if self._elements > MAX_ELEMENTS:
            raise self.wrong(f"claims arrays of {self._elements} elements")
        return kind, length

    def _numbers(self, kind: int, length: int) -> tuple[int, ...]:
        layout = self._layout(kind)
        begin = self._advance(length * layout.size)
        code = layout.format[-1:]
        return struct.unpack_from(f"<{length}{code}", self._data, begin)

    def _skip(self, kind: int, length: int, *, depth: int) -> None:
        if kind == STRING:
            for _ in range(length):
                self._advance(self.u64())
        elif kind == ARRAY:
            if depth == MAX_DEPTH:
                raise self.wrong("has arrays within arrays within arrays")
            for _ in range(length):
                self._skip(*self._array_begin(), depth=depth + 1)
        else:
            self._advance(length * self._layout(kind).size)

    def _layout(self, kind: int) -> struct.Struct:
        if kind not in SCALARS:
            raise self.wrong(f"has a value of the unknown type {kind}")
        return SCALARS[kind]

    def _string(self, limit: int) -> bytes:
        length = self.u64()
        if length > limit:
            raise self.wrong(f"has a string of {length} bytes")
        begin = self._advance(length)
        return bytes(self._data[begin : begin + length])

    def _advance(self, count: int) -> int:
        """Step over `count` bytes, which then stand in memory; where they begin."""
        begin, end = self.position, self.position + count
        if end > self.size:
            raise self.wrong("ends in the middle of its header")
        if end > MAX_HEADER_BYTES:
            raise self.wrong(f"has a header of more than {MAX_HEADER_BYTES >> 20} MB")
        while len(self._data) < end:
            data = self._file.read(max(READ_BYTES, end - len(self._data)))
            if not data:
                raise self.wrong("became shorter while it was read")
            self._data += data
        self.position = end
        return begin
