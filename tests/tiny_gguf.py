"""Writes small language models with random weights, as GGUF files of several architectures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

from skerry.models.gguf import read_gguf
from skerry.models.manifest import ChatManifest, ChatModel, InstalledModel, Source, StoredFile

WIDTH, HEADS, LAYERS, INNER = 64, 4, 2, 128
CONTEXT = 2048
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WITH_TOOLS = (
    "{% if tools %}<|im_start|>system\nTools:\n<tools>{% for tool in tools %}\n{{ tool | tojson }}"
    '{% endfor %}\n</tools>\nCall one as <tool_call>\n{"name": <name>, "arguments": <object>}\n'
    "</tool_call><|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
Shapes = dict[str, tuple[int, ...]]


def write_model(
    file: Path, *, architecture: str = "qwen2", template: str = CHATML, seed: int = 0
) -> ChatModel:
    """A model as the store would have it: `file` and what its header says."""
    writer = GGUFWriter(file, architecture)
    _write_settings(writer, architecture, template=template)
    size = _write_tokenizer(writer, architecture)
    random = np.random.default_rng(seed)
    for name, shape in _shapes(architecture, size).items():
        writer.add_tensor(name, _weights(name, shape, random))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return installed(file)


def installed(file: Path, *, name: str = "tiny") -> ChatModel:
    """A manifest for a GGUF file where it lies."""
    header = read_gguf(file)
    manifest = ChatManifest(
        name=name,
        architecture=header.architecture,
        source=Source("file", file.name),
        license="",
        file=StoredFile(file.name, "", file.stat().st_size),
        context=header.context,
        template=header.template,
        tools=header.tools,
    )
    return InstalledModel(manifest, file.parent)


def _write_settings(writer: GGUFWriter, architecture: str, *, template: str) -> None:
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_file_type(0)
    if architecture == "gpt2":
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(WIDTH // HEADS)
        writer.add_rope_freq_base(10000.0)
    if architecture == "gemma":
        writer.add_key_length(WIDTH // HEADS)
        writer.add_value_length(WIDTH // HEADS)
    if template:
        writer.add_chat_template(template)


def _write_tokenizer(writer: GGUFWriter, architecture: str) -> int:
    """Byte tokens and specials; returns the vocabulary's size."""
    if architecture in ("gpt2", "qwen2"):
        return _write_byte_pairs(writer, pre="gpt-2" if architecture == "gpt2" else "qwen2")
    return _write_pieces(writer, space_prefix=architecture == "llama")


def _write_byte_pairs(writer: GGUFWriter, *, pre: str) -> int:
    letters = list(_letters_of_bytes())
    pairs = ["h e", "Ġ t", "Ġt he"]
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = letters + [pair.replace(" ", "") for pair in pairs] + specials
    kinds = [TokenType.NORMAL] * (len(tokens) - 3) + [TokenType.CONTROL] * 3
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(pairs)
    writer.add_bos_token_id(len(tokens) - 3)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_pad_token_id(len(tokens) - 3)
    writer.add_add_bos_token(False)
    return len(tokens)


def _write_pieces(writer: GGUFWriter, *, space_prefix: bool) -> int:
    specials = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    pieces = ["▁", "t", "h", "e", "▁t", "he", "▁the"]
    tokens = specials + [f"<0x{value:02X}>" for value in range(256)] + pieces
    kinds = [TokenType.UNKNOWN, *[TokenType.CONTROL] * 4, *[TokenType.BYTE] * 256]
    kinds += [TokenType.NORMAL] * len(pieces)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_scores([0.0] * 261 + [-float(place) for place in range(len(pieces))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(4)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(space_prefix)
    writer.add_add_bos_token(True)
    return len(tokens)


def _letters_of_bytes() -> list[str]:
    """GPT-2's printable stand-in for each byte (`bytes_to_unicode` of its encoder)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [value for value in range(256) if value not in printable]
    stand_in = {value: chr(value) for value in printable}
    stand_in |= {value: chr(256 + place) for place, value in enumerate(rest)}
    return [stand_in[value] for value in range(256)]


def _weights(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    if "norm.weight" in name:
        return np.ones(shape, np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    return random.normal(0, 0.3, shape).astype(np.float32)


def _shapes(architecture: str, vocabulary: int) -> Shapes:
    shapes: Shapes = {"token_embd.weight": (vocabulary, WIDTH), "output_norm.weight": (WIDTH,)}
    if architecture != "gemma":
        shapes["output.weight"] = (vocabulary, WIDTH)
    if architecture == "gpt2":
        shapes |= {"position_embd.weight": (CONTEXT, WIDTH), "output_norm.bias": (WIDTH,)}
    block = _gpt2_block() if architecture == "gpt2" else _llama_block(architecture)
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


def _gpt2_block() -> Shapes:
    return {
        "attn_norm.weight": (WIDTH,),
        "attn_norm.bias": (WIDTH,),
        "attn_qkv.weight": (3 * WIDTH, WIDTH),
        "attn_qkv.bias": (3 * WIDTH,),
        "attn_output.weight": (WIDTH, WIDTH),
        "attn_output.bias": (WIDTH,),
        "ffn_norm.weight": (WIDTH,),
        "ffn_norm.bias": (WIDTH,),
        "ffn_up.weight": (INNER, WIDTH),
        "ffn_up.bias": (INNER,),
        "ffn_down.weight": (WIDTH, INNER),
        "ffn_down.bias": (WIDTH,),
    }


def _llama_block(architecture: str) -> Shapes:
    shapes: Shapes = {"attn_norm.weight": (WIDTH,), "ffn_norm.weight": (WIDTH,)}
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes[f"{part}.weight"] = (WIDTH, WIDTH)
    if architecture == "qwen2":
        shapes |= {f"{part}.bias": (WIDTH,) for part in ("attn_q", "attn_k", "attn_v")}
    return shapes | {
        "ffn_gate.weight": (INNER, WIDTH),
        "ffn_up.weight": (INNER, WIDTH),
        "ffn_down.weight": (WIDTH, INNER),
    }
