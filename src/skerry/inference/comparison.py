"""How near a precision's outputs come to those of fp32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skerry.inference.base import Float32

Outputs = tuple[Float32, Float32]
"""Logits (n, classes) and embedding (n, d) of the same n images."""

MIN_AGREEMENT = 0.97
MIN_COSINE = 0.98
"""Below either, a variant is kept out of its parent's space and never chosen by `auto`."""
SURE = 0.2
"""fp32 is sure of an image when its best class leads the second by this much probability."""


@dataclass(frozen=True, slots=True)
class Nearness:
    """Shares and cosines over the images compared, 1.0 where both precisions agree."""

    agreement: float
    """Share of images with the same best class."""
    sure_agreement: float
    """The same among images fp32 is sure of: on few images one near-tie would decide."""
    mean_cosine: float
    min_cosine: float
    images: int


def compare(outputs: Outputs, reference: Outputs) -> Nearness:
    """Compare the outputs of the same images in two precisions."""
    same = outputs[0].argmax(axis=1) == reference[0].argmax(axis=1)
    sure = _lead(reference[0]) >= SURE
    cosines = _cosines(outputs[1], reference[1])
    return Nearness(
        agreement=float(same.mean()),
        sure_agreement=float(same[sure].mean()) if sure.any() else 1.0,
        mean_cosine=float(cosines.mean()),
        min_cosine=float(cosines.min()),
        images=len(same),
    )


def _lead(logits: Float32) -> NDArray[np.float64]:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities = np.sort(shifted / shifted.sum(axis=1, keepdims=True), axis=1)
    if probabilities.shape[1] == 1:
        return np.ones(len(logits))
    lead: NDArray[np.float64] = probabilities[:, -1] - probabilities[:, -2]
    return lead


def _cosines(one: Float32, other: Float32) -> NDArray[np.float64]:
    dots = np.einsum("nd,nd->n", one, other, dtype=np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    # Two zero vectors are the same; one beside another vector is not.
    both_zero = (np.linalg.norm(one, axis=1) == 0) & (np.linalg.norm(other, axis=1) == 0)
    cosines: NDArray[np.float64] = np.where(both_zero, 1.0, dots / np.maximum(norms, 1e-12))
    return cosines
