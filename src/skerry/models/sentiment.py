"""The default classifier of sentiment: read its shipped head and build it on MiniLM's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import load

from skerry.errors import ModelNotFound, ModelUnavailable
from skerry.models.catalogue import SENTIMENT_HEAD
from skerry.models.conversion import Origin
from skerry.models.encoder_weights import read_encoder_weights
from skerry.models.encoders import EncoderParts, write_encoder
from skerry.models.external import read_graph
from skerry.models.files import write_synced
from skerry.models.folder import ModelFolder
from skerry.models.graphs.base import EncoderShape
from skerry.models.graphs.sentiment import (
    HEAD,
    SENTIMENT_LABELS,
    SentimentHead,
    build_sentiment,
)
from skerry.models.manifest import (
    MANIFEST_FILE,
    ClassifierManifest,
    EmbeddingManifest,
    Source,
    of_task,
)
from skerry.models.shipped import shipped
from skerry.models.tokenizer_files import TOKENIZER_FILE, TokenizerParts

TEMPERATURE = "temperature"
MINILM = EncoderShape(
    family="bert",
    layers=6,
    hidden=384,
    heads=12,
    intermediate=1536,
    vocabulary=30_522,
    positions=512,
    token_types=2,
    activation="gelu",
    epsilon=1e-12,
    pad_id=0,
)
ENCODER_TENSORS = ("embeddings.", "encoder.")


@dataclass(frozen=True, slots=True)
class Base:
    """MiniLM as found: tensors named as in the bare encoder, and the content of its tokenizer."""

    weights: Mapping[str, NDArray[Any]]
    tokenizer: str


def shipped_head() -> SentimentHead:
    """The head in this package's `data` folder; its card lies beside it."""
    held = load(shipped(SENTIMENT_HEAD))
    tensors = {name: value.astype(np.float32) for name, value in held.items()}
    return SentimentHead(
        weight=tensors.pop(f"{HEAD}.weight"),
        bias=tensors.pop(f"{HEAD}.bias"),
        temperature=float(tensors.pop(TEMPERATURE)[0]),
        changes=tensors,
    )


def shipped_card() -> str:
    """The head's card, as Markdown: data, splits, measures, limits."""
    return shipped("sentiment.md").decode()


def installed_base(models: Path, *, name: str, source: Source) -> Base | None:
    """MiniLM out of the model `name` in the folder `models`, when it came from `source`.

    Saves fetching the same weights again. None when it is not there, or not whole.
    """
    try:
        model = of_task(ModelFolder(models).get(name), EmbeddingManifest)
    except (ModelNotFound, ModelUnavailable):
        return None
    variant = model.manifest.variant("fp32")
    if variant is None or model.manifest.source != source:
        return None
    tokenizer = model.path(model.manifest.text.tokenizer).read_text("utf-8")
    return Base(encoder_tensors(model.path(variant)), tokenizer)


def fetched_base(folder: Path, *, scratch: Path) -> Base:
    """MiniLM out of a Hugging Face folder; ModelInvalid."""
    weights = read_encoder_weights(folder, scratch=scratch)
    return Base(weights, (folder / TOKENIZER_FILE).read_text("utf-8"))


def write_sentiment(
    base: Base, origin: Origin, folder: Path, *, max_tokens: int, recipe: str
) -> ClassifierManifest:
    """Write the classifier's graph, tokenizer and manifest into `folder`, synced; ModelInvalid.

    `recipe` is the catalogue entry's: what the graph was built of.
    """
    head = shipped_head()
    parts = EncoderParts(
        task="text-classification",
        graph=build_sentiment(base.weights, MINILM, head),
        tokenizer=TokenizerParts(base.tokenizer, max_tokens, ()),
        max_tokens=max_tokens,
        pad_id=MINILM.pad_id,
        vocabulary=MINILM.vocabulary,
        pooling="mean",
        prefixes={},
        labels=SENTIMENT_LABELS,
        notes=(),
    )
    manifest = write_encoder(parts, origin, folder)
    assert isinstance(manifest, ClassifierManifest)
    calibrated = msgspec.structs.replace(manifest, temperature=head.temperature, recipe=recipe)
    write_synced(folder / MANIFEST_FILE, calibrated.encoded())
    return calibrated


def encoder_tensors(graph: Path) -> dict[str, NDArray[Any]]:
    """An encoder's tensors out of a graph built here, where the layers' matrices lie turned."""
    tensors = {}
    for tensor in read_graph(graph).graph.initializer:
        if tensor.name.startswith(ENCODER_TENSORS):
            value = numpy_helper.to_array(tensor)
            turned = tensor.name.startswith("encoder.") and value.ndim == 2
            tensors[tensor.name] = value.T if turned else value
    return tensors
