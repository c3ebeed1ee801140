"""MPNet's relative positions (Song et al. 2020): what a token's distance adds to its score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS = 32
"""How many kinds of distances a table tells apart, half of them for each direction."""
_SIDE = BUCKETS // 2
_EXACT = _SIDE // 2
"""Distances below it have a bucket each; the others share those left, up to 128 and beyond."""


def bias_by_distance(table: NDArray[Any], *, longest: int) -> NDArray[Any]:
    """Biases (heads, 2 * longest - 1) for the distances -(longest - 1) to longest - 1.

    `table` is (32, heads). A distance is how far the token that is looked at stands after the one
    that looks.
    """
    distances = range(1 - longest, longest)
    rows = np.asarray([bucket(distance) for distance in distances])
    return np.take(table, rows, axis=0).T


def bucket(distance: int) -> int:
    """The row of a distance in the table: logarithmic in its size from 8 on (Raffel et al. 2020).

    In whole numbers: 8 * log(size / 8) / log(128 / 8), rounded down, is log2(size² / 64), rounded
    down.
    """
    size = abs(distance)
    if size >= _EXACT:
        size = min(_EXACT + (size * size // _EXACT**2).bit_length() - 1, _SIDE - 1)
    return size + _SIDE if distance > 0 else size
