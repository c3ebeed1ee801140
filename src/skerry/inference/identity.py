"""Name what runs: the fingerprint of an engine."""

from __future__ import annotations

import hashlib

import msgspec

from skerry.errors import ModelUnavailable
from skerry.inference.base import EngineInfo
from skerry.models.manifest import ImageModel, Variant


def stored_variant(model: ImageModel, precision: str) -> Variant:
    """The variant that `precision` runs; ModelUnavailable when it or its file is missing."""
    name = model.manifest.name
    variant = model.manifest.variant(precision)
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


def engine_info(model: ImageModel, *, precision: str, engine: str, device: str) -> EngineInfo:
    """What is said of an engine in the log and in every answer."""
    manifest = model.manifest
    variant = stored_variant(model, precision)
    return EngineInfo(
        model=manifest.name,
        engine=engine,
        device=device,
        precision=precision,
        fingerprint=fingerprint(model, precision=precision),
        # A variant too far from its parent gives vectors that cannot be compared with it.
        space=manifest.space if variant.passed else f"{manifest.space}:{variant.sha256[:12]}",
    )


def fingerprint(model: ImageModel, *, precision: str) -> str:
    """Hex sha256 over weights, preprocessing and precision: equal inputs, equal outputs."""
    variant = stored_variant(model, precision)
    preprocess = msgspec.json.encode(model.manifest.preprocess, order="sorted")
    parts = (variant.sha256.encode(), preprocess, precision.encode())
    return hashlib.sha256(b"\x00".join(parts)).hexdigest()
