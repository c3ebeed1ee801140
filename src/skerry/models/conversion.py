"""Turn a file of weights or a graph into the files and the manifest of an installed model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnx
from numpy.typing import NDArray

from skerry.errors import ModelInvalid
from skerry.models.architectures import build_graph
from skerry.models.catalogue import ImageEntry
from skerry.models.external import WEIGHTS_DIGEST, write_graph
from skerry.models.files import write_synced
from skerry.models.graphs.base import ClassifierGraph
from skerry.models.labels import shipped_labels
from skerry.models.manifest import (
    MANIFEST_FILE,
    ImageManifest,
    Precision,
    Preprocess,
    Source,
    Variant,
)
from skerry.models.onnx_import import import_onnx, load_onnx
from skerry.models.presets import resized
from skerry.models.weights import read_weights


@dataclass(frozen=True, slots=True)
class Origin:
    """What a manifest says of any model that its files do not."""

    name: str
    source: Source
    license: str
    card: str


@dataclass(frozen=True, slots=True)
class Description(Origin):
    """What a manifest says of a classifier of images beside its graph."""

    labels: tuple[str, ...]
    preprocess: Preprocess


def read_pulled(entry: ImageEntry, weights: Path) -> tuple[ClassifierGraph, Description]:
    """Graph and description of a model of the catalogue; ModelInvalid."""
    description = Description(
        name=entry.name,
        labels=shipped_labels(entry.labels),
        preprocess=entry.preprocess,
        source=entry.source,
        license=entry.license,
        card=entry.card,
    )
    classes = len(description.labels)
    return read_added(weights, classes=classes, size=entry.preprocess.size), description


def read_added(
    path: Path, *, classes: int, size: int, embedding: str | None = None
) -> ClassifierGraph:
    """The graph of a user's file with `classes` logits; ModelInvalid, PickleRefused."""
    if path.suffix == ".onnx":
        return import_onnx(path, classes=classes, size=size, embedding=embedding)
    if embedding is not None:
        raise ModelInvalid(
            f"--embedding names a tensor of an ONNX graph; {path.name} has no graph.",
            remedy="Leave it out: the features are what the last layer reads.",
        )
    try:
        weights = read_weights(path)
    except OSError as error:
        raise ModelInvalid(f"Cannot read {path.name}: {error.strerror}.") from error
    graph = build_graph(weights, size=size)
    if graph.classes != classes:
        raise ModelInvalid(
            f"The model gives {graph.classes} logits, but {classes} labels were given.",
            remedy="Give one label for each logit, in the order of the model's outputs.",
        )
    return graph


def write_model(graph: ClassifierGraph, description: Description, folder: Path) -> ImageManifest:
    """Write the fp32 variant and the manifest into `folder`, synced."""
    preprocess = resized(description.preprocess, graph.size)
    variant = write_variant(graph.model, folder, precision="fp32")
    weights = weights_digest(graph.model)
    manifest = ImageManifest(
        name=description.name,
        architecture=graph.architecture,
        preprocess=preprocess,
        labels=description.labels,
        embedding_size=graph.embedding_size,
        space=space_name(description.name, weights, preprocess, graph.embedding),
        source=description.source,
        license=description.license,
        input=graph.input,
        logits=graph.logits,
        embedding=graph.embedding,
        card=description.card,
        variants=(variant,),
    )
    write_synced(folder / MANIFEST_FILE, manifest.encoded())
    return manifest


def space_name(name: str, weights_digest: str, preprocess: Preprocess, embedding: str) -> str:
    """The space of a model's vectors: they compare if weights, preparation and tensor agree."""
    parts = f"{weights_digest} {msgspec.json.encode(preprocess).decode()} {embedding}"
    return f"{name}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"


def weights_digest(model: onnx.ModelProto) -> str:
    """The digest of its weights that a written graph carries."""
    return str({entry.key: entry.value for entry in model.metadata_props}[WEIGHTS_DIGEST])


def write_variant(
    model: onnx.ModelProto,
    folder: Path,
    *,
    precision: Precision,
    mapped: Mapping[str, NDArray[Any]] = {},
) -> Variant:
    """Write a graph and its weights, some of them `mapped` from elsewhere, as a variant, synced."""
    graph, *weights = write_graph(model, folder, stem=precision, mapped=mapped)
    return Variant(
        precision=precision,
        file=graph.file,
        sha256=graph.sha256,
        bytes=graph.bytes + sum(file.bytes for file in weights),
        weights=tuple(weights),
    )


def load_variant(path: Path, *, of: ImageManifest) -> onnx.ModelProto:
    """A graph that has the input and outputs of the model `of`; ModelInvalid."""
    model = load_onnx(path)
    outputs = {value.name for value in model.graph.output}
    inputs = {value.name for value in model.graph.input}
    if of.input not in inputs or not {of.logits, of.embedding} <= outputs:
        raise ModelInvalid(
            f"{path.name} lacks the input '{of.input}' or the outputs '{of.logits}' and "
            f"'{of.embedding}' of {of.name}."
        )
    return model
