"""Name what runs: the fingerprint of an engine."""

from __future__ import annotations

import hashlib

import msgspec

from skerry.errors import ModelUnavailable
from skerry.inference.base import EngineInfo
from skerry.models.manifest import (
    ClassifierManifest,
    EmbeddingManifest,
    ImageManifest,
    ImageModel,
    InstalledModel,
    Variant,
    space_of,
)

TextModel = InstalledModel[EmbeddingManifest] | InstalledModel[ClassifierManifest]
EngineModel = ImageModel | TextModel
"""A model that an engine or an encoder runs."""


def stored_variant(model: EngineModel, precision: str) -> Variant:
    """The variant that `precision` runs; ModelUnavailable when it or its file is missing.

    A text model needs none for int8: its encoder rounds the weights of fp32 as it loads.
    """
    name = model.manifest.name
    variant = model.manifest.variant(precision)
    if variant is None and precision == "int8" and not isinstance(model.manifest, ImageManifest):
        variant = model.manifest.variant("fp32")
    if variant is None:
        raise ModelUnavailable(
            f"Model '{name}' has no {precision} variant.",
            remedy=f"Make one with 'skerry quantize {name} --data FOLDER', or ask for fp32.",
        )
    if not model.path(variant).is_file():
        raise ModelUnavailable(
            f"Model '{name}' lacks its file {variant.file}.",
            remedy=f"Run 'skerry models pull {name}' again.",
        )
    return variant


def engine_info(model: EngineModel, *, precision: str, engine: str, device: str) -> EngineInfo:
    """What is said of an engine in the log and in every answer."""
    manifest = model.manifest
    variant = stored_variant(model, precision)
    space, _ = space_of(manifest)
    return EngineInfo(
        model=manifest.name,
        engine=engine,
        device=device,
        precision=precision,
        fingerprint=fingerprint(model, precision=precision),
        # A variant too far from its parent gives vectors that cannot be compared with it.
        space=space if variant.passed else f"{space}:{variant.sha256[:12]}",
    )


def fingerprint(model: EngineModel, *, precision: str) -> str:
    """Hex sha256 over weights, preparation of input and precision: equal inputs, equal outputs."""
    variant = stored_variant(model, precision)
    parts = (variant.sha256.encode(), _preparation(model), precision.encode())
    return hashlib.sha256(b"\x00".join(parts)).hexdigest()


def _preparation(model: EngineModel) -> bytes:
    manifest = model.manifest
    prepared = manifest.preprocess if isinstance(manifest, ImageManifest) else manifest.text
    return msgspec.json.encode(prepared, order="sorted")
