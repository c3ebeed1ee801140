"""BERT, RoBERTa, DistilBERT and MPNet (Devlin 2018, Liu 2019, Sanh 2019, Song 2020) as graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import (
    EMBEDDING,
    IDS,
    LOGITS,
    MASK,
    TOKEN_TYPES,
    EncoderShape,
    Family,
    TextGraph,
)
from skerry.models.graphs.builder import GraphBuilder
from skerry.models.graphs.pooling import Pooling
from skerry.models.graphs.relative_positions import BUCKETS, bias_by_distance
from skerry.models.manifest import PoolingKind

# The operator Gelu begins with 20; LayerNormalization with 17.
OPSET = 20
IR_VERSION = 9
# Far enough below every score for exp() to give 0, and still a number in half precision.
MASKED_SCORE = -10_000.0
POSITION_IDS = "embeddings.position_ids"
RELATIVE_BIAS = "encoder.relative_attention_bias.weight"
# Heads of the training that the encoder came from; an embedding has no use for them.
PRETRAINING = ("cls.", "lm_head.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.")
CLASSIFIERS = ("classifier.", "pre_classifier.", "pooler.")


@dataclass(frozen=True, slots=True)
class _LayerNames:
    """Transformers' names of a layer's parts, after `layers` and the layer's number."""

    layers: str

    query: str
    key: str
    value: str
    attended: str
    attention_norm: str
    up: str
    down: str
    norm: str


BERT_LAYER = _LayerNames(
    layers="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attended="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    norm="output.LayerNorm",
)
MPNET_LAYER = replace(
    BERT_LAYER,
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attended="attention.attn.o",
    attention_norm="attention.LayerNorm",
)
DISTILBERT_LAYER = _LayerNames(
    layers="transformer.layer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attended="attention.out_lin",
    attention_norm="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    norm="output_layer_norm",
)
LAYERS: dict[Family, _LayerNames] = {
    "bert": BERT_LAYER,
    "roberta": BERT_LAYER,
    "distilbert": DISTILBERT_LAYER,
    "mpnet": MPNET_LAYER,
}


def build_embedding(
    weights: Mapping[str, NDArray[Any]], shape: EncoderShape, *, pooling: PoolingKind
) -> TextGraph:
    """The graph that gives `embedding`, of length 1; ModelInvalid when the tensors do not fit.

    `weights` are named as in the bare encoder, without `bert.` and the like.
    """
    builder = EncoderBuilder(weights, shape)
    notes = builder.leave_out(*PRETRAINING, *CLASSIFIERS)
    hidden = builder.encode()
    tail = Pooling()
    tail.normalize(tail.pool(hidden, pooling))
    builder.nodes += tail.nodes
    builder.initializers += tail.initializers
    return builder.finish(EMBEDDING, shape.hidden, notes=notes)


def build_classifier(weights: Mapping[str, NDArray[Any]], shape: EncoderShape) -> TextGraph:
    """The graph that gives `logits`, by the head whose tensors are there; ModelInvalid.

    Those of transformers' `*ForSequenceClassification`; without a pooler, one layer straight on
    the vector of `[CLS]`.
    """
    builder = EncoderBuilder(weights, shape)
    notes = builder.leave_out(*PRETRAINING)
    first = builder.first_token(builder.encode())
    if "pooler.dense.weight" in weights:
        first = builder.activated("Tanh", first, "pooler.dense", into=shape.hidden)
    if "pre_classifier.weight" in weights:
        first = builder.activated("Relu", first, "pre_classifier", into=shape.hidden)
    if "classifier.dense.weight" in weights:
        first = builder.activated("Tanh", first, "classifier.dense", into=shape.hidden)
    last = "classifier.out_proj" if "classifier.out_proj.weight" in weights else "classifier"
    classes = builder.rows(f"{last}.weight")
    logits = builder.linear(first, last, out=classes, into=shape.hidden)
    builder.nodes.append(helper.make_node("Identity", [logits], [LOGITS], name=LOGITS))
    return builder.finish(LOGITS, classes, notes=notes)


class EncoderBuilder(GraphBuilder):
    """The layers of an encoder, up to a vector for each token."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], shape: EncoderShape) -> None:
        super().__init__(weights)
        self.shape = shape
        self.unused.discard(POSITION_IDS)  # 0, 1, 2, ...
        self.has_token_types = shape.family == "bert"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs."""
        return (IDS, MASK, TOKEN_TYPES) if self.has_token_types else (IDS, MASK)

    def leave_out(self, *prefixes: str) -> tuple[str, ...]:
        """Do without the tensors under these prefixes; returns a note that names them."""
        dropped = sorted(name for name in self.unused if name.startswith(prefixes))
        self.unused.difference_update(dropped)
        return (f"Not used: {', '.join(dropped)}.",) if dropped else ()

    def encode(self) -> str:
        """The tensor (n, length, hidden) of the tokens' vectors after the last layer."""
        x = self._embed()
        bias = self._score_bias()
        width = self.shape.hidden // self.shape.heads
        self.integers("heads_shape", [0, 0, self.shape.heads, width])
        self.integers("joined_shape", [0, 0, self.shape.hidden])
        self.scalar("score_scale", 1.0 / np.sqrt(width))
        names = LAYERS[self.shape.family]
        for index in range(self.shape.layers):
            x = self._layer(x, f"{names.layers}.{index}.", names, bias=bias)
        return x

    def first_token(self, hidden: str) -> str:
        """The vector (n, hidden) of the first token."""
        return self.node("Gather", [hidden, self.integers("first", 0)], "first_token", axis=1)

    def activated(self, operator: str, x: str, layer: str, *, into: int) -> str:
        """A square layer and the activation after it."""
        return self.node(operator, [self.linear(x, layer, out=into, into=into)], f"{layer}.act")

    def rows(self, name: str) -> int:
        """How many outputs a layer's weight (out, in) has."""
        shape = self.take(name).shape
        if len(shape) != 2 or 0 in shape:
            raise ModelInvalid(f"The tensor '{name}' is no layer's weight: its shape is {shape}.")
        return int(shape[0])

    def linear(self, x: str, layer: str, *, out: int, into: int) -> str:
        """A fully connected layer."""
        weight = self.fitting(f"{layer}.weight", (out, into))
        # Transposed here, once: engines would copy it each time they load.
        product = self.node("MatMul", [x, self.mapped_constant(f"{layer}.weight", weight.T)], layer)
        bias = self.mapped_constant(f"{layer}.bias", self.fitting(f"{layer}.bias", (out,)))
        return self.node("Add", [product, bias], f"{layer}.add")

    def fitting(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """The tensor of this name and shape; ModelInvalid."""
        value = self.take(name)
        if value.shape != shape:
            raise ModelInvalid(
                f"The tensor '{name}' has shape {value.shape}; by the model's sizes it is {shape}."
            )
        if value.dtype.kind in "iub":
            raise ModelInvalid(f"The tensor '{name}' holds {value.dtype}, not real numbers.")
        return value

    def finish(self, output: str, width: int, *, notes: tuple[str, ...]) -> TextGraph:
        """Close the graph; ModelInvalid when tensors are left over."""
        architecture = self.shape.family
        self.check_used(architecture)
        integers, floats = TensorProto.INT64, TensorProto.FLOAT
        model = self.model(
            architecture,
            [
                helper.make_tensor_value_info(name, integers, ["n", "length"])
                for name in self.inputs
            ],
            [helper.make_tensor_value_info(output, floats, ["n", width])],
            opset=OPSET,
            ir_version=IR_VERSION,
        )
        return TextGraph(
            model=model,
            architecture=architecture,
            inputs=self.inputs,
            output=output,
            width=width,
            mapped=self.mapped,
            notes=notes,
        )

    def _embed(self) -> str:
        words = self._lookup(IDS, "embeddings.word_embeddings", self.shape.vocabulary)
        x = self.node("Add", [words, self._positions()], "embeddings.add_positions")
        if self.has_token_types:
            types = self._lookup(
                TOKEN_TYPES, "embeddings.token_type_embeddings", self.shape.token_types
            )
            x = self.node("Add", [x, types], "embeddings.add_types")
        elif self.shape.family == "roberta":  # all tokens are of its first type
            name = "embeddings.token_type_embeddings.weight"
            table = self.fitting(name, (self.shape.token_types, self.shape.hidden))
            x = self.node("Add", [x, self.mapped_constant(name, table[0])], "embeddings.add_types")
        return self._norm(x, "embeddings.LayerNorm")

    def _lookup(self, ids: str, name: str, rows: int) -> str:
        table = self.fitting(f"{name}.weight", (rows, self.shape.hidden))
        return self.node("Gather", [self.mapped_constant(f"{name}.weight", table), ids], name)

    def _positions(self) -> str:
        name = "embeddings.position_embeddings"
        if self.shape.counts_from_padding:
            return self._lookup(self._counted_positions(), name, self.shape.positions)
        table = self.fitting(f"{name}.weight", (self.shape.positions, self.shape.hidden))
        self.mapped_constant(f"{name}.weight", table)
        length = self._length()
        begin, axis = self.integers("positions_begin", [0]), self.integers("positions_axis", [0])
        return self.node("Slice", [f"{name}.weight", begin, length, axis], name)

    def _length(self) -> str:
        """How many tokens the longest text has, as int64 (1,)."""
        return self.node("Shape", [IDS], "length", start=1, end=2)

    def _counted_positions(self) -> str:
        """Tokens are counted from the one after padding's position, padding stays at its own."""
        pad = self.integers("pad_id", self.shape.pad_id)
        is_pad = self.node("Equal", [IDS, pad], "is_pad")
        is_token = self.node("Not", [is_pad], "is_token")
        ones = self.node("Cast", [is_token], "token_ones", to=TensorProto.INT64)
        counted = self.node("CumSum", [ones, self.integers("length_axis", 1)], "token_count")
        masked = self.node("Mul", [counted, ones], "token_positions")
        return self.node("Add", [masked, pad], "positions")

    def _score_bias(self) -> str:
        """What every layer adds to its scores (n, heads, length, length)."""
        if self.shape.family != "mpnet":
            return self._mask_bias()
        return self.node("Add", [self._relative_bias(), self._mask_bias()], "score_bias")

    def _relative_bias(self) -> str:
        """MPNet's (heads, length, length), by how far the tokens stand apart."""
        table = self.fitting(RELATIVE_BIAS, (BUCKETS, self.shape.heads))
        longest = self.shape.positions - self.shape.first_position
        biases = self.mapped_constant(RELATIVE_BIAS, bias_by_distance(table, longest=longest))
        zero, one = self.integers("zero", 0), self.integers("step", 1)
        length = self.node("Squeeze", [self._length()], "length_number")
        places = self.node("Range", [zero, length, one], "places")
        row = self.node("Unsqueeze", [places, self.integers("row_axis", [0])], "looked_at")
        column = self.node("Unsqueeze", [places, self.integers("column_axis", [1])], "looking")
        distances = self.node("Sub", [row, column], "distances")
        shift = self.integers("zero_distance", longest - 1)
        shifted = self.node("Add", [distances, shift], "shifted_distances")
        return self.node("Gather", [biases, shifted], "relative_bias", axis=1)

    def _mask_bias(self) -> str:
        """(n, 1, 1, length): 0 for a token, far below for padding."""
        axes = self.integers("mask_axes", [1, 2])
        mask = self.node("Unsqueeze", [MASK, axes], "mask_row")
        real = self.node("Cast", [mask], "mask_real", to=TensorProto.FLOAT)
        padding = self.node("Sub", [self.scalar("one", 1.0), real], "mask_padding")
        return self.node("Mul", [padding, self.scalar("masked_score", MASKED_SCORE)], "mask_bias")

    def _layer(self, x: str, layer: str, names: _LayerNames, *, bias: str) -> str:
        hidden, inner = self.shape.hidden, self.shape.intermediate
        attended = self._attention(x, layer, names, bias=bias)
        y = self.linear(attended, layer + names.attended, out=hidden, into=hidden)
        x = self._norm(self.node("Add", [y, x], f"{layer}attended"), layer + names.attention_norm)
        y = self._activation(self.linear(x, layer + names.up, out=inner, into=hidden), layer)
        y = self.linear(y, layer + names.down, out=hidden, into=inner)
        return self._norm(self.node("Add", [y, x], f"{layer}fed"), layer + names.norm)

    def _attention(self, x: str, layer: str, names: _LayerNames, *, bias: str) -> str:
        query = self._heads(x, layer + names.query, perm=[0, 2, 1, 3])
        key = self._heads(x, layer + names.key, perm=[0, 2, 3, 1])
        value = self._heads(x, layer + names.value, perm=[0, 2, 1, 3])
        scores = self.node("MatMul", [query, key], f"{layer}scores")
        scaled = self.node("Mul", [scores, "score_scale"], f"{layer}scaled")
        masked = self.node("Add", [scaled, bias], f"{layer}masked")
        shares = self.node("Softmax", [masked], f"{layer}shares", axis=-1)
        mixed = self.node("MatMul", [shares, value], f"{layer}mixed")
        joined = self.node("Transpose", [mixed], f"{layer}joined", perm=[0, 2, 1, 3])
        return self.node("Reshape", [joined, "joined_shape"], f"{layer}context")

    def _heads(self, x: str, name: str, *, perm: list[int]) -> str:
        hidden = self.shape.hidden
        y = self.linear(x, name, out=hidden, into=hidden)
        split = self.node("Reshape", [y, "heads_shape"], f"{name}.heads")
        return self.node("Transpose", [split], f"{name}.turned", perm=perm)

    def _norm(self, x: str, name: str) -> str:
        size = (self.shape.hidden,)
        scale = self.mapped_constant(f"{name}.weight", self.fitting(f"{name}.weight", size))
        bias = self.mapped_constant(f"{name}.bias", self.fitting(f"{name}.bias", size))
        inputs = [x, scale, bias]
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=self.shape.epsilon)

    def _activation(self, x: str, layer: str) -> str:
        if self.shape.activation == "relu":
            return self.node("Relu", [x], f"{layer}activation")
        approximate = "tanh" if self.shape.activation == "gelu-tanh" else "none"
        return self.node("Gelu", [x], f"{layer}activation", approximate=approximate)
