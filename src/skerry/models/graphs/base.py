"""What every source of a model comes down to: a checked graph with two outputs."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

INPUT, LOGITS, EMBEDDING = "input", "logits", "embedding"


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
