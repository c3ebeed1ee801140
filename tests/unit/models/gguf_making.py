"""GGUF files made here: a whole small one, and the parts to build wrong ones from."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
ALIGNMENT = 32
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)
VALUES: dict[str, tuple[Any, ...]] = {
    "general.architecture": (STRING, "llama"),
    "general.name": (STRING, "Tiny"),
    "general.license": (STRING, "mit"),
    "llama.context_length": (U32, 128),
    "llama.embedding_length": (U32, 32),
    "llama.block_count": (U32, 2),
    "llama.attention.head_count": (U32, 4),
    "llama.attention.head_count_kv": (U32, 2),
    "tokenizer.ggml.model": (STRING, "gpt2"),
    "tokenizer.ggml.tokens": (ARRAY, STRING, ["<|im_start|>", "<|im_end|>", "a", "b"]),
    "tokenizer.ggml.token_type": (ARRAY, I32, [3, 3, 1, 1]),
    "tokenizer.ggml.merges": (ARRAY, STRING, ["a b"]),
    "tokenizer.ggml.bos_token_id": (U32, 0),
    "tokenizer.ggml.eos_token_id": (U32, 1),
    "tokenizer.chat_template": (STRING, TEMPLATE),
}
# name, shape, type, offset; bytes follow from shape and type for F32 (0).
TENSORS = [("token_embd.weight", (32, 4), 0, 0), ("output.weight", (32, 4), 0, 512)]


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value_bytes(kind: int, *content: Any) -> bytes:
    if kind == STRING:
        return text(content[0])
    if kind == ARRAY:
        inner, items = content
        body = b"".join(value_bytes(inner, *(i if inner == ARRAY else (i,))) for i in items)
        return struct.pack("<IQ", inner, len(items)) + body
    return struct.pack("<" + CODES[kind], *content)


def pair_bytes(key: str | bytes, kind: int, *content: Any) -> bytes:
    return text(key) + struct.pack("<I", kind) + value_bytes(kind, *content)


def tensor_bytes(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def gguf_bytes(
    values: dict[str, tuple[Any, ...]] | None = None,
    tensors: list[tuple[str, tuple[int, ...], int, int]] | None = None,
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    data: int = 1024,
) -> bytes:
    """A file; without arguments a right one. `counts` are what it claims of tensors and keys."""
    values = VALUES if values is None else values
    tensors = TENSORS if tensors is None else tensors
    claimed = counts or (len(tensors), len(values))
    head = b"GGUF" + struct.pack("<IQQ", version, *claimed)
    head += b"".join(pair_bytes(key, *value) for key, value in values.items())
    head += b"".join(tensor_bytes(*tensor) for tensor in tensors)
    return head + b"\0" * (-len(head) % ALIGNMENT) + b"\1" * data


def write_gguf(path: Path, *args: Any, **options: Any) -> Path:
    path.write_bytes(gguf_bytes(*args, **options))
    return path


def without(*keys: str) -> dict[str, tuple[Any, ...]]:
    return {key: value for key, value in VALUES.items() if key not in keys}
