"""Take in a Hugging Face folder of a text encoder, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skerry.errors import ModelInvalid
from skerry.models.conversion import Origin, weights_digest, write_variant
from skerry.models.encoder_config import CONFIG_FILE, SUPPORTED, EncoderConfig, read_config
from skerry.models.encoder_shapes import assumed_head, check_tokenizer, config_by_tensors
from skerry.models.encoder_weights import (
    find_onnx,
    plainly_named,
    read_encoder_weights,
    read_tensors,
    weights_file,
)
from skerry.models.external import stored_file
from skerry.models.files import sha256_of, write_synced
from skerry.models.graphs.base import TextGraph
from skerry.models.graphs.bert import build_classifier, build_embedding
from skerry.models.manifest import (
    MANIFEST_FILE,
    ClassifierManifest,
    EmbeddingManifest,
    PoolingKind,
    Source,
    StoredFile,
    TextInput,
    TextTask,
    Variant,
)
from skerry.models.onnx_encoder import import_onnx_encoder
from skerry.models.sentence_files import read_sentence_settings
from skerry.models.text_probe import check_text_graph
from skerry.models.tokenizer_files import TOKENIZER_FILE, TokenizerParts, read_tokenizer
from skerry.models.weights import Weights

GUIDE_LABELS = ("positive", "negative", "neutral")
"""The order of the guide's classifier, whose config names no classes."""
CLASSIFIER = "ForSequenceClassification"
PRETRAINING = ("ForMaskedLM", "ForPreTraining")
UNSTATED_POOLING: PoolingKind = "mean"
"""That of sentence-transformers for a folder without its files."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user or a catalogue entry says of a folder; it goes before what the files say."""

    task: TextTask | None = None
    pooling: PoolingKind | None = None
    labels: Sequence[str] = ()
    prefixes: Mapping[str, str] = field(default_factory=dict)
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class EncoderParts:
    """An encoder read from a folder: everything its manifest will say."""

    task: TextTask
    graph: TextGraph
    tokenizer: TokenizerParts
    max_tokens: int
    pad_id: int
    vocabulary: int
    pooling: PoolingKind
    prefixes: Mapping[str, str]
    labels: tuple[str, ...]
    notes: tuple[str, ...]


def read_folder(folder: Path, wanted: Wanted, *, scratch: Path) -> EncoderParts:
    """The encoder in `folder`: its config, tokenizer, and weights as safetensors, ONNX or pickle.

    Weights in safetensors stay in their file, and those of pickles in several files go into
    unnamed ones in `scratch`. Without a config, only what is clearly BERT is
    taken, and `notes` say what was assumed. Raises ModelInvalid, and PickleRefused for a pickle
    that holds more than tensors.
    """
    config, weights = _read_weights(folder, scratch=scratch)
    shape = config.shape
    tokenizer = read_tokenizer(folder, vocabulary=shape.vocabulary, family=shape.family)
    sentence = read_sentence_settings(folder, pooling=wanted.pooling)
    task, graph = _read_graph(folder, config, weights, wanted, stated=sentence.pooling)
    notes = [*config.assumed, *graph.notes, *tokenizer.notes]
    if config.assumed:
        check_tokenizer(tokenizer.content)
        notes += [assumed_head(weights)] if task == "text-classification" else []
    if task == "text-embedding" and sentence.pooling is None:
        notes.append("No pooling is stated: vectors are the mean of the tokens'.")
    labels = _labels(config, graph, wanted, notes) if task == "text-classification" else ()
    bounds = (wanted.max_tokens, sentence.max_tokens, tokenizer.max_tokens)
    window = shape.positions - shape.first_position
    return EncoderParts(
        task=task,
        graph=graph,
        tokenizer=tokenizer,
        max_tokens=min([window, *(bound for bound in bounds if bound is not None)]),
        pad_id=shape.pad_id,
        vocabulary=shape.vocabulary,
        pooling=sentence.pooling or UNSTATED_POOLING,
        prefixes=dict(sentence.prefixes) | dict(wanted.prefixes),
        labels=labels,
        notes=tuple(notes),
    )


def added_from(folder: Path, *, name: str) -> Origin:
    """What the manifest says of a user's own folder."""
    weights = weights_file(folder)
    return Origin(
        name=name,
        source=Source(kind="file", location=folder.name, sha256=sha256_of(weights)),
        license="the user's own",
        card=f"Added from {folder.name}/{weights.name}.",
    )


def write_encoder(
    parts: EncoderParts, origin: Origin, folder: Path
) -> EmbeddingManifest | ClassifierManifest:
    """Write graph, weights, tokenizer and manifest into `folder`, synced; ModelInvalid.

    The graph is run once as it was written.
    """
    graph = parts.graph
    variant = write_variant(graph.model, folder, precision="fp32", mapped=graph.mapped)
    path = folder / variant.file
    check_text_graph(path, graph, pad_id=parts.pad_id, vocabulary=parts.vocabulary)
    write_synced(folder / TOKENIZER_FILE, parts.tokenizer.content.encode())
    tokenizer = stored_file(folder / TOKENIZER_FILE)
    manifest = _manifest(parts, origin, variant, tokenizer)
    write_synced(folder / MANIFEST_FILE, manifest.encoded())
    return manifest


def _manifest(
    parts: EncoderParts, origin: Origin, variant: Variant, tokenizer: StoredFile
) -> EmbeddingManifest | ClassifierManifest:
    graph = parts.graph
    text = TextInput(
        tokenizer=tokenizer, max_tokens=parts.max_tokens, pad_id=parts.pad_id, inputs=graph.inputs
    )
    card = "\n".join([origin.card.rstrip(), *parts.notes])
    if parts.task == "text-classification":
        return ClassifierManifest(
            name=origin.name,
            architecture=graph.architecture,
            source=origin.source,
            license=origin.license,
            card=card,
            variants=(variant,),
            text=text,
            labels=parts.labels,
            output=graph.output,
        )
    return EmbeddingManifest(
        name=origin.name,
        architecture=graph.architecture,
        source=origin.source,
        license=origin.license,
        card=card,
        variants=(variant,),
        text=text,
        embedding_size=graph.width,
        space=_space(origin.name, weights_digest(graph.model), tokenizer, parts.pooling),
        pooling=parts.pooling,
        prefixes=parts.prefixes,
        output=graph.output,
    )


def _task(config: EncoderConfig, names: Iterable[str]) -> TextTask:
    """By the class of transformers the folder was saved from, else by the names of its tensors."""
    saved_from = config.architecture
    if saved_from.endswith(CLASSIFIER):
        return "text-classification"
    if "For" in saved_from and not saved_from.endswith(PRETRAINING):
        raise ModelInvalid(
            f"A {saved_from} is neither for embeddings nor for classification of texts.",
            remedy=SUPPORTED,
        )
    # The guide's classifier is no class of transformers.
    headed = not saved_from.endswith("Model") and any(n.startswith("classifier") for n in names)
    return "text-classification" if headed else "text-embedding"


def _read_weights(folder: Path, *, scratch: Path) -> tuple[EncoderConfig, Weights]:
    """The config, and the tensors under the bare encoder's names: none beside an ONNX graph."""
    if find_onnx(folder) is not None:
        return read_config(folder), {}
    if (folder / CONFIG_FILE).exists():
        return read_config(folder), read_encoder_weights(folder, scratch=scratch)
    tensors = read_tensors(folder, scratch=scratch)
    return config_by_tensors(tensors), plainly_named(tensors)


def _read_graph(
    folder: Path,
    config: EncoderConfig,
    weights: Weights,
    wanted: Wanted,
    *,
    stated: PoolingKind | None,
) -> tuple[TextTask, TextGraph]:
    """`stated` is the pooling by the folder's files or the user."""
    task = wanted.task or _task(config, weights)
    if (path := find_onnx(folder)) is not None:
        graph = import_onnx_encoder(path, config, task=task, pooling=wanted.pooling, stated=stated)
        return task, graph
    if task == "text-classification":
        return task, build_classifier(weights, config.shape)
    return task, build_embedding(weights, config.shape, pooling=stated or UNSTATED_POOLING)


def _labels(
    config: EncoderConfig, graph: TextGraph, wanted: Wanted, notes: list[str]
) -> tuple[str, ...]:
    """As many names as the head has outputs, or ModelInvalid."""
    if config.several_labels or graph.width < 2:
        raise ModelInvalid(
            "This head does not choose one of several classes: it scores each by itself.",
            remedy="Use a model whose classes exclude each other.",
        )
    labels = tuple(wanted.labels) or config.labels
    if not labels and graph.width == len(GUIDE_LABELS):
        order = ", ".join(GUIDE_LABELS)
        notes.append(
            f"Its classes have no names: they are taken as {order}; --labels gives others."
        )
        labels = GUIDE_LABELS
    if not labels:
        labels = tuple(f"LABEL_{index}" for index in range(graph.width))
        notes.append(
            f"Its classes have no names: they are {labels[0]} to {labels[-1]}; --labels gives "
            "others."
        )
    if len(labels) != graph.width:
        raise ModelInvalid(
            f"The model gives {graph.width} logits, but there are {len(labels)} labels.",
            remedy="Give one label for each logit, in the order of the model's outputs.",
        )
    return labels


def _space(name: str, weights: str, tokenizer: StoredFile, pooling: str) -> str:
    """The space of a model's vectors: they compare if weights, tokenizer and pooling agree."""
    parts = f"{weights} {tokenizer.sha256} {pooling}"
    return f"{name}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"
