"""Keep a graph's matrices in 8 bits inside OpenVINO, which rounds activations as it goes.

OpenVINO multiplies such matrices in 8 bits where the CPU sums products of bytes in 32 bits, and
turns them back to float elsewhere. Nothing is calibrated: each row of activations gets its scale
when it is there, each output of a matrix has one of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from openvino import opset13 as opset

LARGEST = 127


def with_8_bit_weights(graph: Any) -> int:
    """Round every constant matrix that `graph` (changed) multiplies by; how many there were."""
    rounded = 0
    for node in graph.get_ops():
        if node.get_type_name() != "MatMul":
            continue
        weight = node.input_value(1).get_node()
        if weight.get_type_name() != "Constant" or len(weight.shape) != 2:
            continue
        transposed = node.get_attributes()["transpose_b"]
        stored = _stored(weight.data, outputs_axis=0 if transposed else 1)
        node.input(1).replace_source_output(stored.output(0))
        rounded += 1
    return rounded


def _stored(weight: NDArray[np.float32], *, outputs_axis: int) -> Any:
    values = np.asarray(weight, np.float32)
    scale = np.abs(values).max(axis=1 - outputs_axis, keepdims=True) / LARGEST
    scale[scale == 0] = 1.0
    rounded = np.rint(values / scale).astype(np.int8)
    widened = opset.convert(opset.constant(rounded), "f32")
    return opset.multiply(widened, opset.constant(scale.astype(np.float32)))
