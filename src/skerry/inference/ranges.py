"""The range of values each activation of a graph takes: what INT8 needs to know of images."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator

from skerry.inference.base import Float32

SHIPPED = "data/activation_ranges.json"


Ranges = dict[str, tuple[float, float]]
"""Least and greatest value of each tensor, by its name, over the images seen."""


class ShippedRanges(msgspec.Struct, frozen=True):
    """Ranges that come with Skerry for one model."""

    model: str
    weights: str
    """Digest of the weights the ranges were taken with; of others they say nothing."""
    ranges: Ranges


def shipped_ranges(weights_digest: str) -> Ranges | None:
    """The ranges shipped for these weights, taken by `scripts/activation_ranges.py`."""
    data = (files("skerry.inference") / SHIPPED).read_bytes()
    known = msgspec.json.decode(data, type=list[ShippedRanges])
    return next((entry.ranges for entry in known if entry.weights == weights_digest), None)


def measured_ranges(
    model: onnx.ModelProto, images: Iterable[Float32], *, input_name: str
) -> Ranges:
    """Run the fp32 graph on `images`, float32 (3, size, size) each, and note every range.

    Twenty varied photos suffice: the ranges of a hundred give the same accuracy.
    """
    with TemporaryDirectory(prefix="skerry-") as folder:
        source = Path(folder) / "model.onnx"
        onnx.save(model, source)
        calibrator = create_calibrator(
            source,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_Reader(images, input_name))
        found = calibrator.compute_data()
    bounds = {name: _bounds(data) for name, data in found.items()}
    return dict(sorted(bounds.items()))


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the images to the calibrator one by one."""

    def __init__(self, images: Iterable[Float32], input_name: str) -> None:
        self._images = iter(images)
        self._input = input_name

    def get_next(self) -> dict[str, Float32] | None:
        image = next(self._images, None)
        return None if image is None else {self._input: image[None]}


def _bounds(data: Any) -> tuple[float, float]:
    low, high = (float(np.ravel(value)[0]) for value in data.range_value)
    return low, high
