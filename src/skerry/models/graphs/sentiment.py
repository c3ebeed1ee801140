"""The graph of a sentiment classifier: an encoder, what training changed in it, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import LOGITS, MASK, EncoderShape, TextGraph
from skerry.models.graphs.bert import CLASSIFIERS, PRETRAINING, EncoderBuilder
from skerry.models.graphs.pooling import Pooling

SENTIMENT_LABELS = ("positive", "negative", "neutral")
"""The guide's order (S2)."""
HEAD = "head"
DOWN, UP = ".down", ".up"
BELOW_ALL = 10_000.0
"""Taken from the states of padding before the maximum over tokens."""
Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class SentimentHead:
    """What `scripts/sentiment` trained.

    `changes` are added to MiniLM's tensors: under their own names, or as the factors
    NAME.down (rank, in) and NAME.up (out, rank). `weight` is float32 (labels, 3 d), over the
    tokens' mean, the first token and the tokens' maximum; `bias` (labels,).
    """

    changes: Tensors
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: float


def build_sentiment(weights: Tensors, shape: EncoderShape, head: SentimentHead) -> TextGraph:
    """The graph from token ids to `logits`, float32 (n, labels) in the order of SENTIMENT_LABELS.

    `weights` are MiniLM's, named as in the bare encoder. ModelInvalid when they do not fit.
    """
    tensors = {**weights, **_merged(weights, head.changes)}
    tensors[f"{HEAD}.weight"], tensors[f"{HEAD}.bias"] = head.weight, head.bias
    builder = _SentimentBuilder(tensors, shape)
    notes = builder.leave_out(*PRETRAINING, *CLASSIFIERS)
    builder.add_head(builder.encode())
    return builder.finish(LOGITS, len(SENTIMENT_LABELS), notes=notes)


def _merged(weights: Tensors, changes: Tensors) -> dict[str, NDArray[np.float32]]:
    """The tensors of `weights` that change, changed."""
    merged = {}
    for name in sorted({change.removesuffix(DOWN).removesuffix(UP) for change in changes}):
        change = changes[name] if name in changes else changes[name + UP] @ changes[name + DOWN]
        if name not in weights or weights[name].shape != change.shape:
            raise ModelInvalid(f"The tensor '{name}' is not the one that the head was made for.")
        merged[name] = np.asarray(weights[name] + change, dtype=np.float32)
    return merged


class _SentimentBuilder(EncoderBuilder):
    """An encoder whose head sees the tokens' mean, the first token and the tokens' maximum."""

    def add_head(self, hidden: str) -> None:
        """End in the output `logits`."""
        tail = Pooling()
        mean = tail.pool(hidden, "mean")
        self.nodes += tail.nodes
        self.initializers += tail.initializers
        parts = [mean, self.first_token(hidden), self._maximum(hidden)]
        joined = self.node("Concat", parts, "pooled", axis=1)
        logits = self.linear(
            joined, HEAD, out=len(SENTIMENT_LABELS), into=len(parts) * self.shape.hidden
        )
        self.nodes.append(helper.make_node("Identity", [logits], [LOGITS], name=LOGITS))

    def _maximum(self, hidden: str) -> str:
        """The highest state (n, hidden) over the tokens; padding lies below all."""
        column = self.node("Unsqueeze", [MASK, self.integers("column_axis", [2])], "mask_column")
        real = self.node("Cast", [column], "mask_column_real", to=TensorProto.FLOAT)
        padding = self.node("Sub", [real, "one"], "minus_padding")
        lowered = self.node("Mul", [padding, self.scalar("below_all", BELOW_ALL)], "lowered")
        states = self.node("Add", [hidden, lowered], "states_of_tokens")
        axes = self.integers("token_axis", [1])
        return self.node("ReduceMax", [states, axes], "maximum", keepdims=0)
