"""A language model that knows nothing and costs nothing: one layer of noise, a token a byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unit.models.gguf_making import (
    ALIGNMENT,
    ARRAY,
    F32,
    I32,
    STRING,
    U32,
    gguf_bytes,
)

WIDTH = 64
FLOAT32, FLOAT16 = 0, 1
SPECIAL = ("<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NORMS = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")
LAYER = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def byte_letters() -> list[str]:
    """GPT-2's letter for each byte: printable ones are themselves, the others are moved up."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(moved)) for byte in range(256)]


def write_tiny_chat(path: Path, *, context: int = 2048, template: str = TEMPLATE) -> Path:
    """A GGUF file of the llama architecture with a vocabulary of 258 tokens."""
    tokens = [*SPECIAL, *byte_letters()]
    shapes: dict[str, tuple[tuple[int, ...], int]] = {
        **{f"{name}.weight": ((WIDTH,), FLOAT32) for name in NORMS},
        **{f"blk.0.{name}.weight": ((WIDTH, WIDTH), FLOAT16) for name in LAYER},
        "token_embd.weight": ((WIDTH, len(tokens)), FLOAT16),
    }
    tensors, data, rng = [], b"", np.random.default_rng(0)
    for name, (shape, kind) in shapes.items():
        tensors.append((name, shape, kind, len(data)))
        noise = rng.normal(0, 0.3, shape[::-1])
        if kind == FLOAT32:
            noise = np.ones(shape)
        body = noise.astype("<f4" if kind == FLOAT32 else "<f2").tobytes()
        data += body + b"\0" * (-len(body) % ALIGNMENT)
    whole = gguf_bytes(_values(tokens, context, template), tensors, data=0)
    path.write_bytes(whole + data)
    return path


def _values(tokens: list[str], context: int, template: str) -> dict[str, tuple[Any, ...]]:
    numbers = {
        "general.file_type": 1,
        "llama.block_count": 1,
        "llama.context_length": context,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": WIDTH,
        "llama.attention.head_count": 1,
        "llama.attention.head_count_kv": 1,
        "llama.rope.dimension_count": WIDTH,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    }
    return {
        "general.architecture": (STRING, "llama"),
        "general.name": (STRING, "Tiny chat"),
        **{key: (U32, number) for key, number in numbers.items()},
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "llama.rope.freq_base": (F32, 10000.0),
        "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, "smollm"),
        "tokenizer.ggml.tokens": (ARRAY, STRING, tokens),
        "tokenizer.ggml.token_type": (ARRAY, I32, [3, 3, *[1] * 256]),
        "tokenizer.ggml.merges": (ARRAY, STRING, []),
        "tokenizer.chat_template": (STRING, template),
    }
