"""What a text encoder's graph reads, and how wide its answer is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skerry.inference.encoder import Int64, TokenBatch
from skerry.inference.identity import TextModel
from skerry.models.manifest import EmbeddingManifest

TOKEN_TYPES = "token_type_ids"  # noqa: S105 - the name of an input


def tensors(batch: TokenBatch, names: Sequence[str]) -> dict[str, Int64]:
    """The graph's inputs by name, each int64 (n, length)."""
    known = {
        "input_ids": batch.ids,
        "attention_mask": batch.mask,
        TOKEN_TYPES: np.zeros_like(batch.ids),
    }
    return {name: np.ascontiguousarray(known[name]) for name in names}


def output_width(model: TextModel) -> int:
    """Numbers a text: the embedding's size, or the count of labels."""
    manifest = model.manifest
    if isinstance(manifest, EmbeddingManifest):
        return manifest.embedding_size
    return len(manifest.labels)
