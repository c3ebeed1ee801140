"""Read the header of a GGUF file, believing nothing in it before it is checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from skerry.errors import ModelInvalid
from skerry.models.gguf_reader import HeaderReader, Values
from skerry.models.gguf_tensors import Tensor, check_layout, dominant_type, read_tensors

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 4096
MAX_TENSORS = 65_536
MAX_CONTEXT = 1 << 26
MAX_LAYERS = 4096
MAX_WIDTH = 1 << 20
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 16
COMMAND_TOKEN, OWN_TOKEN = 3, 4
"""Kinds of tokens that are found in a text before it is cut into words."""

T = TypeVar("T", int, str, bool)


@dataclass(frozen=True, slots=True)
class Attention:
    """What the memory of a conversation is reckoned from."""

    layers: int
    key_values: int
    """Numbers kept for each token in all layers together, keys and values."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of its model."""

    version: int
    architecture: str
    name: str
    license: str
    context: int
    """Tokens of prompt and answer together, as trained."""
    template: str
    """Chat template (Jinja); empty: none."""
    tokenizer: str
    """`gpt2` (byte-level BPE), `llama` (SentencePiece), …"""
    vocabulary: int
    bos_id: int | None
    eos_ids: tuple[int, ...]
    """Tokens that end a turn."""
    special_tokens: tuple[str, ...]
    """Tokens with a meaning of their own, such as `<|im_end|>`."""
    command_ids: tuple[int, ...]
    """Those of them that are never part of a text."""
    quantisation: str
    """Storage of most weights, such as `Q4_1`."""
    parameters: int
    weight_bytes: int
    attention: Attention

    @property
    def tools(self) -> bool:
        """Whether the chat template has a place for tools."""
        return re.search(r"\btools\b", self.template) is not None


def read_gguf(path: Path) -> GgufHeader:
    """Read and check the header; ModelInvalid says what is wrong with it.

    Every count, length and offset is held against the file's size before it is used. Time and
    memory are bounded by `gguf_reader.MAX_HEADER_BYTES`.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _read(HeaderReader(file, size=size, name=path.name))
    except OSError as error:
        raise ModelInvalid(f"Cannot read {path.name}: {error.strerror}.") from error


def _read(reader: HeaderReader) -> GgufHeader:
    version = _version(reader)
    tensor_count = reader.count("tensors", limit=MAX_TENSORS)
    key_count = reader.count("keys", limit=MAX_KEYS)
    values = reader.values(key_count)
    tensors = read_tensors(reader, tensor_count)
    begin = _aligned(reader, _alignment(reader, values))
    check_layout(reader, tensors, begin=begin, alignment=_alignment(reader, values))
    return _header(reader, version, values, tensors)


def _version(reader: HeaderReader) -> int:
    if reader.take(4) != MAGIC:
        raise reader.wrong("is not a GGUF file")
    version = reader.u32()
    if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
        raise reader.wrong("was written for big-endian machines")
    if version not in VERSIONS:
        raise reader.wrong(f"has version {version} of the format; known are 2 and 3")
    return version


def _header(
    reader: HeaderReader, version: int, values: Values, tensors: list[Tensor]
) -> GgufHeader:
    architecture = _required(reader, values, "general.architecture", str)
    if _get(reader, values, "split.count", int, 1) > 1:
        raise reader.wrong("is one part of several", remedy="Join them with llama-gguf-split.")
    tokens = values.tokens
    if not tokens:
        raise reader.wrong("holds no tokenizer")
    if values.token_kinds and len(values.token_kinds) != len(tokens):
        raise reader.wrong("tells the kinds of other tokens than it has")
    return GgufHeader(
        version=version,
        architecture=architecture,
        name=_get(reader, values, "general.name", str, ""),
        license=_get(reader, values, "general.license", str, ""),
        context=_number(reader, values, f"{architecture}.context_length", limit=MAX_CONTEXT),
        template=_get(reader, values, "tokenizer.chat_template", str, ""),
        tokenizer=_required(reader, values, "tokenizer.ggml.model", str),
        vocabulary=len(tokens),
        bos_id=_token_id(reader, values, "bos"),
        eos_ids=_ends(reader, values),
        special_tokens=_special(values),
        command_ids=tuple(
            token for token, kind in enumerate(values.token_kinds) if kind == COMMAND_TOKEN
        ),
        quantisation=dominant_type(tensors),
        parameters=sum(tensor.elements for tensor in tensors),
        weight_bytes=sum(tensor.bytes for tensor in tensors),
        attention=_attention(reader, values, architecture),
    )


def _attention(reader: HeaderReader, values: Values, architecture: str) -> Attention:
    def number(key: str, default: int | None = None, *, limit: int = MAX_WIDTH) -> int:
        return _number(reader, values, f"{architecture}.{key}", limit=limit, default=default)

    layers = number("block_count", limit=MAX_LAYERS)
    width = number("embedding_length")
    # Models of mixed layers give a list; the widest layer stands for all of them.
    heads = number("attention.head_count", default=1)
    groups = number("attention.head_count_kv", default=heads)
    key = number("attention.key_length", default=max(1, width // heads))
    value = number("attention.value_length", default=max(1, width // heads))
    return Attention(layers, layers * groups * (key + value))


def _special(values: Values) -> tuple[str, ...]:
    kinds = values.token_kinds
    return tuple(
        token
        for token, kind in zip(values.tokens, kinds, strict=False)
        if kind == COMMAND_TOKEN or (kind == OWN_TOKEN and token.strip())
    )


def _ends(reader: HeaderReader, values: Values) -> tuple[int, ...]:
    found = (_token_id(reader, values, kind) for kind in ("eos", "eot", "eom"))
    return tuple(dict.fromkeys(token for token in found if token is not None))


def _token_id(reader: HeaderReader, values: Values, kind: str) -> int | None:
    key = f"tokenizer.ggml.{kind}_token_id"
    if key not in values.scalars:
        return None
    token = _get(reader, values, key, int, 0)
    if not 0 <= token < len(values.tokens):
        raise reader.wrong(f"names token {token} for '{key}', which is none of its vocabulary")
    return token


def _alignment(reader: HeaderReader, values: Values) -> int:
    alignment = _get(reader, values, "general.alignment", int, DEFAULT_ALIGNMENT)
    if not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise reader.wrong(f"has an alignment of {alignment}")
    return alignment


def _aligned(reader: HeaderReader, alignment: int) -> int:
    return reader.position + -reader.position % alignment


def _number(
    reader: HeaderReader, values: Values, key: str, *, limit: int, default: int | None = None
) -> int:
    listed = values.numbers.get(key)
    if listed:
        number = max(listed)
    elif default is None:
        number = _required(reader, values, key, int)
    else:
        number = _get(reader, values, key, int, default)
    if not 1 <= number <= limit:
        raise reader.wrong(f"has {number} for '{key}'")
    return number


def _required(reader: HeaderReader, values: Values, key: str, kind: type[T]) -> T:
    if key not in values.scalars:
        raise reader.wrong(f"lacks '{key}'")
    value = values.scalars[key]
    if type(value) is not kind:
        raise reader.wrong(f"has a value of another type for '{key}'")
    return value


def _get(reader: HeaderReader, values: Values, key: str, kind: type[T], default: T) -> T:
    return _required(reader, values, key, kind) if key in values.scalars else default
