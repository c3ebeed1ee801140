"""A text encoder of a few kilobytes, made on the spot: attention, pooling, a real tokenizer."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from skerry.models.manifest import (
    ClassifierManifest,
    ClassifierModel,
    EmbeddingManifest,
    EmbeddingModel,
    Source,
    StoredFile,
    TextInput,
    Variant,
)

WIDTH = 64
LABELS = ("positive", "negative", "neutral")
MAX_TOKENS = 16
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ALL_WORDS = (
    "the harbour is calm this morning and boat sails to island where seals sleep on rocks cat sat "
    "mat query : a b c d e cls sep mask [ ]"
)
WORDS = ALL_WORDS.split()
PAD, UNK, CLS, SEP, MASK = range(5)


def tiny_tokenizer() -> Tokenizer:
    """WordPiece over a few words, with the template of BERT and, as shipped ones do, truncation."""
    vocabulary = {word: at for at, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    return tokenizer


def tiny_encoder_graph(*, seed: int = 0, labels: int = 0) -> onnx.ModelProto:
    """Embedding, one head of attention under the mask, a feed-forward, and a mean or a head."""
    random = np.random.default_rng(seed)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(values: np.ndarray) -> str:
        name = f"w{len(weights)}"
        weights.append(numpy_helper.from_array(values, name))
        return name

    def weight(*shape: int) -> str:
        return constant(random.normal(0, shape[0] ** -0.5, shape).astype(np.float32))

    def node(kind: str, *inputs: str, out: str = "", **attributes: object) -> str:
        name = out or f"n{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    table = constant(random.normal(0, 1, (len(SPECIAL) + len(WORDS), WIDTH)).astype(np.float32))
    types = constant(np.zeros((2, WIDTH), np.float32))
    x = node("Add", node("Gather", table, "input_ids"), node("Gather", types, "token_type_ids"))
    mask = node("Cast", "attention_mask", to=TensorProto.FLOAT)
    one, far = constant(np.float32(1)), constant(np.float32(10_000))
    row, column = constant(np.array([1])), constant(np.array([2]))
    bias = node("Mul", node("Sub", node("Unsqueeze", mask, row), one), far)
    query, key, value = (node("MatMul", x, weight(WIDTH, WIDTH)) for _ in range(3))
    scores = node("MatMul", query, node("Transpose", key, perm=[0, 2, 1]))
    scaled = node("Mul", scores, constant(np.float32(WIDTH**-0.5)))
    attended = node("MatMul", node("Softmax", node("Add", scaled, bias), axis=-1), value)
    x = node("Add", x, node("MatMul", attended, weight(WIDTH, WIDTH)))
    x = node("Add", x, node("MatMul", node("Relu", node("MatMul", x, weight(WIDTH, 128))),
                            weight(128, WIDTH)))  # fmt: skip
    wide = node("Unsqueeze", mask, column)
    total = node("ReduceSum", node("Mul", x, wide), row, keepdims=0)
    mean = node("Div", total, node("ReduceSum", wide, row, keepdims=0))
    if labels:
        node("MatMul", mean, weight(WIDTH, labels), out="logits")
    else:
        node("LpNormalization", mean, axis=-1, p=2, out="embedding")
    output, width = ("logits", labels) if labels else ("embedding", WIDTH)
    graph = helper.make_graph(
        nodes,
        "tiny-encoder",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", width])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def install_tiny_encoder(folder: Path, *, seed: int = 0) -> EmbeddingModel:
    """Write a tiny embedding model into `folder` and describe it."""
    text, variants = _files(folder, tiny_encoder_graph(seed=seed))
    manifest = EmbeddingManifest(
        name="tiny-encoder",
        architecture="tiny",
        source=Source(kind="file", location="tests"),
        license="Apache-2.0",
        variants=variants,
        text=text,
        embedding_size=WIDTH,
        space="tiny-texts",
        pooling="mean",
        prefixes={"query": "query: "},
    )
    (folder / "manifest.json").write_bytes(manifest.encoded())
    return EmbeddingModel(manifest, folder)


def install_tiny_classifier(folder: Path, *, seed: int = 0) -> ClassifierModel:
    """Write a tiny classifier into `folder` and describe it."""
    text, variants = _files(folder, tiny_encoder_graph(seed=seed, labels=len(LABELS)))
    manifest = ClassifierManifest(
        name="tiny-classifier",
        architecture="tiny",
        source=Source(kind="file", location="tests"),
        license="Apache-2.0",
        variants=variants,
        text=text,
        labels=LABELS,
    )
    (folder / "manifest.json").write_bytes(manifest.encoded())
    return ClassifierModel(manifest, folder)


def _files(folder: Path, graph: onnx.ModelProto) -> tuple[TextInput, tuple[Variant, ...]]:
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, folder / "model.onnx")
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    stored, tokenizer = (_stored(folder / name) for name in ("model.onnx", "tokenizer.json"))
    variant = Variant("fp32", stored.file, stored.sha256, stored.bytes)
    return TextInput(tokenizer=tokenizer, max_tokens=MAX_TOKENS), (variant,)


def _stored(path: Path) -> StoredFile:
    data = path.read_bytes()
    return StoredFile(path.name, hashlib.sha256(data).hexdigest(), len(data))
