"""Rewrite a float graph to INT8 so that it computes the same on every CPU.

Products of unsigned activations and signed weights are added in pairs in 16 bits on CPUs without
a dot-product instruction (AVX2 without VNNI): 255 * 127 * 2 does not fit and saturates, silently
and by a lot. So each output channel's scale leaves room for its largest pair of neighbouring
weights, which costs a third of a bit on average where halving all weights would cost one. The
result is as exact there as it is on newer CPUs, and one file serves all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from skerry.errors import ModelInvalid
from skerry.inference.ranges import Ranges

WEIGHTED = ("Conv", "Gemm", "MatMul")
QUANTIZED = (*WEIGHTED, "Add", "Clip", "Relu", "MaxPool", "GlobalAveragePool")
# The first convolutions see few channels at full size, and their rounding runs through all that
# follows; with pool and head in float too, the worst feature cosine rises from 0.966 to 0.987.
FLOAT_STEM_CONVOLUTIONS = 3
FLOAT_HEAD = ("Gemm", "MatMul", "GlobalAveragePool")

LARGEST_WEIGHT = 127
LARGEST_ACTIVATION = 255
# One below 32767 // 255 = 128: each of a pair may be rounded up by half.
LARGEST_PAIR = 127
LARGEST_BIAS = 2.0**30


def int8_graph(model: onnx.ModelProto, ranges: Ranges) -> onnx.ModelProto:
    """`model` with QuantizeLinear/DequantizeLinear pairs: u8 activations, s8 weights per channel.

    `model` is changed. Raises ModelInvalid for a graph without convolutions.
    """
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    in_float = _kept_in_float(model) | _without_constant_weight(model)
    scales = _weight_scales(model, ranges, skip=in_float)
    if not scales:
        raise ModelInvalid("The graph has no convolutions that INT8 would speed up.")
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=_tensors_data(ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=sorted(in_float),
        op_types_to_quantize=list(QUANTIZED),
        extra_options={
            "WeightSymmetric": True,
            "ActivationSymmetric": False,
            "TensorQuantOverrides": scales,
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    return result


def pair_safe_scales(weight: NDArray[np.float32], *, depthwise: bool) -> NDArray[np.float32]:
    """Scale of each output channel (axis 0) of a convolution's or Gemm's weight.

    Neighbours are taken in the order in which kernels sum: channels innermost.
    """
    channels_last = np.moveaxis(weight, 1, -1).reshape(len(weight), -1)
    scales = np.abs(channels_last).max(axis=1) / LARGEST_WEIGHT
    if not depthwise and channels_last.shape[1] > 1:
        pairs = np.abs(channels_last[:, 1:] + channels_last[:, :-1]).max(axis=1)
        scales = np.maximum(scales, pairs / LARGEST_PAIR)
    result: NDArray[np.float32] = scales.astype(np.float32)
    return result


def _kept_in_float(model: onnx.ModelProto) -> set[str]:
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    head = [node.name for node in model.graph.node if node.op_type in FLOAT_HEAD]
    stem = min(FLOAT_STEM_CONVOLUTIONS, len(convolutions) // 4)
    return {*convolutions[:stem], *head}


def _without_constant_weight(model: onnx.ModelProto) -> set[str]:
    """Layers whose weight is computed: what their pairs add up to cannot be known."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        node.name
        for node in model.graph.node
        if node.op_type in WEIGHTED and not set(node.input[1:]) <= constants
    }


def _weight_scales(
    model: onnx.ModelProto, ranges: Ranges, *, skip: set[str]
) -> dict[str, list[dict[str, Any]]]:
    """For each weight, the overrides that fix its scales: one entry for each output channel."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    overrides = {}
    for node in model.graph.node:
        if node.op_type != "Conv" or node.name in skip:
            continue
        weight = numpy_helper.to_array(constants[node.input[1]])
        depthwise = _groups(node) > 1 and weight.shape[1] == 1
        scales = pair_safe_scales(weight, depthwise=depthwise)
        if len(node.input) > 2:
            bias = numpy_helper.to_array(constants[node.input[2]])
            scales = _with_room_for_bias(scales, bias, ranges[node.input[0]])
        scales[scales == 0] = 1.0
        overrides[node.input[1]] = [
            {"quant_type": QuantType.QInt8, "axis": 0, "scale": scale, "zero_point": np.int8(0)}
            for scale in scales
        ]
    return overrides


def _groups(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _with_room_for_bias(
    scales: NDArray[np.float32], bias: NDArray[np.float32], input_range: tuple[float, float]
) -> NDArray[np.float32]:
    """A bias is stored as int32 in steps of input scale * weight scale: keep it within."""
    low, high = min(input_range[0], 0.0), max(input_range[1], 0.0)
    input_scale = max((high - low) / LARGEST_ACTIVATION, 1e-12)
    return np.maximum(scales, np.abs(bias) / (input_scale * LARGEST_BIAS)).astype(np.float32)


def _tensors_data(ranges: Ranges) -> TensorsData:
    bounds = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    return TensorsData(CalibrationMethod.MinMax, bounds)
