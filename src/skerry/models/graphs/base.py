"""What every source of a model comes down to: a graph whose inputs and outputs are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import onnx
from numpy.typing import NDArray

INPUT, LOGITS, EMBEDDING = "input", "logits", "embedding"
IDS, MASK, TOKEN_TYPES = "input_ids", "attention_mask", "token_type_ids"
Family = Literal["bert", "roberta", "distilbert", "mpnet"]
Activation = Literal["gelu", "gelu-tanh", "relu"]


@dataclass(frozen=True, slots=True)
class ClassifierGraph:
    """A classifier: float32 (n, 3, size, size) to logits (n, classes) and embedding (n, d).

    The last three fields name the graph's input and outputs; `notes` says, for the user, what
    was changed or assumed on the way.
    """

    model: onnx.ModelProto
    architecture: str
    size: int
    classes: int
    embedding_size: int
    input: str = INPUT
    logits: str = LOGITS
    embedding: str = EMBEDDING
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The dimensions of a transformer encoder (Devlin et al. 2018) and its small choices."""

    family: Family
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int
    activation: Activation
    epsilon: float
    pad_id: int

    @property
    def first_position(self) -> int:
        """That of the first token."""
        return self.pad_id + 1 if self.counts_from_padding else 0

    @property
    def counts_from_padding(self) -> bool:
        """RoBERTa and MPNet count positions from the one after their padding's."""
        return self.family in ("roberta", "mpnet")


@dataclass(frozen=True, slots=True)
class TextGraph:
    """An encoder of texts: int64 (n, length) inputs to one float32 output (n, width).

    `mapped` holds the numbers of tensors that `model` only names, as views of the file they
    come from.
    """

    model: onnx.ModelProto
    architecture: str
    inputs: tuple[str, ...]
    output: str
    width: int
    mapped: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
