"""Find out whether GenAI makes a grammar of a JSON schema, before a real answer depends on it."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from llguidance import LLMatcher

from skerry.errors import Unprocessable
from skerry.generation.json_schemas import NAMED, VALUES
from skerry.generation.openvino_runtime import genai, ov

WIDTH = 64
ALIGNMENT = 32
U32, F32, STRING = 4, 6, 8
FLOAT32, FLOAT16 = 0, 1
ONE_BLOCK = 4
NUMBERS = {
    "general.file_type": FLOAT16,
    "llama.block_count": 1,
    "llama.context_length": 64,
    "llama.embedding_length": WIDTH,
    "llama.feed_forward_length": WIDTH,
    "llama.attention.head_count": 1,
    "llama.attention.head_count_kv": 1,
    "llama.rope.dimension_count": WIDTH,
}
UNENFORCED = ("allOf", "multipleOf")
"""Of the keywords that `llguidance`, which is asked first, lets pass."""
LAYER = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NORMS = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")


class GrammarCheck:
    """Tries schemas on a model of one narrow layer with the real model's vocabulary.

    GenAI makes the grammar in the middle of a step. When that fails it can go on with none of
    the answers in it: here there is only one, and the little model is made anew.
    """

    def __init__(self, tokenizer: Any, *, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._pipeline: Any = None

    def check(self, schema: str) -> None:
        """Unprocessable for a schema of which no grammar can be made."""
        grammar = LLMatcher.grammar_from_json_schema(schema)
        failed, messages = LLMatcher.validate_grammar_with_warnings(grammar)
        if failed or messages:
            raise no_grammar("; ".join(messages))
        if key := unenforced(msgspec.json.decode(schema)):
            raise no_grammar(f"OpenVINO would not enforce '{key}'")
        if self._pipeline is None:
            self._pipeline = self._made()
        config = genai.GenerationConfig()
        config.max_new_tokens = 1
        config.structured_output_config = genai.StructuredOutputConfig(json_schema=schema)
        prompt = ov.Tensor(np.zeros((1, 1), dtype=np.int64))
        try:
            handle = self._pipeline.add_request(0, prompt, config)
            while self._pipeline.has_non_finished_requests():
                self._pipeline.step()
            handle.read_all()
        except RuntimeError as error:
            self._pipeline = None
            raise no_grammar(str(error).splitlines()[-1]) from error

    def _made(self) -> Any:
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = ONE_BLOCK
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tiny.gguf"
            path.write_bytes(tiny_model(self._vocabulary))
            return genai.ContinuousBatchingPipeline(
                str(path), self._tokenizer, scheduler, "CPU", INFERENCE_NUM_THREADS=1
            )


def unenforced(schema: Any) -> str:
    """A keyword in the schema that GenAI's grammar silently leaves out; empty: there is none."""
    if isinstance(schema, list):
        return next(filter(None, map(unenforced, schema)), "")
    if not isinstance(schema, dict):
        return ""
    for key, value in schema.items():
        if key in UNENFORCED and not (key == "allOf" and len(value) == 1):
            return str(key)
        inner = list(value.values()) if key in NAMED and isinstance(value, dict) else value
        if key not in VALUES and (found := unenforced(inner)):
            return found
    return ""


def no_grammar(reason: str) -> Unprocessable:
    """The error for a schema."""
    return Unprocessable(f"No grammar can be made of the JSON schema: {reason}")


def tiny_model(vocabulary: int) -> bytes:
    """A GGUF file of one layer, all weights zero, without a tokeniser."""
    norms = {f"{name}.weight": ((WIDTH,), FLOAT32) for name in NORMS}
    layer = {f"blk.0.{name}.weight": ((WIDTH, WIDTH), FLOAT16) for name in LAYER}
    embedding = {"token_embd.weight": ((WIDTH, vocabulary), FLOAT16)}
    tensors = norms | layer | embedding
    pairs = [_pair("general.architecture", STRING, _text("llama"))]
    pairs += [_pair(key, U32, struct.pack("<I", number)) for key, number in NUMBERS.items()]
    epsilon, base = struct.pack("<f", 1e-5), struct.pack("<f", 1e4)
    pairs.append(_pair("llama.attention.layer_norm_rms_epsilon", F32, epsilon))
    pairs.append(_pair("llama.rope.freq_base", F32, base))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs)
    described, data_bytes = _described(tensors)
    head += described
    return head + bytes(-len(head) % ALIGNMENT + data_bytes)


def _described(tensors: Mapping[str, tuple[tuple[int, ...], int]]) -> tuple[bytes, int]:
    described, offset = b"", 0
    for name, (shape, kind) in tensors.items():
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        described += _text(name) + dimensions + struct.pack("<IQ", kind, offset)
        size = int(np.prod(shape)) * (4 if kind == FLOAT32 else 2)
        offset += size + -size % ALIGNMENT
    return described, offset


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
