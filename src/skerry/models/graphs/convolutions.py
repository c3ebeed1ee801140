"""Layers of convolutional classifiers, with batch normalisation folded into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import EMBEDDING, INPUT, LOGITS, ClassifierGraph
from skerry.models.graphs.builder import GraphBuilder

OPSET = 17
IR_VERSION = 8
BATCH_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
Channels = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Padding:
    """Zeros around an image: `before` above and left, `after` below and right."""

    before: int
    after: int

    def as_onnx(self) -> list[int]:
        """ONNX's order: top, left, bottom, right."""
        return [self.before, self.before, self.after, self.after]


class ConvolutionBuilder(GraphBuilder):
    """Adds layers one after another; each method takes and gives the name of a tensor."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], *, epsilon: float) -> None:
        super().__init__(weights)
        self.epsilon = epsilon
        self.unused = {name for name in weights if not name.endswith(".num_batches_tracked")}

    def take(self, name: str) -> NDArray[np.float64]:
        """The tensor of this name, in double precision for folding; ModelInvalid when absent."""
        return super().take(name).astype(np.float64)

    def kernel_shape(self, conv: str) -> tuple[int, int, int, int]:
        """Shape (out, in per group, height, width) of a convolution's weights."""
        shape = self.take(f"{conv}.weight").shape
        if len(shape) != 4 or 0 in shape:
            raise ModelInvalid(f"The tensor '{conv}.weight' is no convolution's.")
        return shape

    def conv_bn(
        self,
        x: str,
        conv: str,
        bn: str,
        *,
        stride: int = 1,
        padding: Padding,
        groups: int = 1,
    ) -> str:
        """A convolution without bias, with the batch normalisation after it folded into it."""
        shape = self.kernel_shape(conv)
        scale, shift = self._fold(bn, channels=shape[0])
        kernel = self.take(f"{conv}.weight")
        inputs = [
            x,
            self.constant(f"{conv}.weight", kernel * scale[:, None, None, None]),
            self.constant(f"{conv}.bias", shift),
        ]
        return self.node(
            "Conv",
            inputs,
            conv,
            kernel_shape=list(shape[2:]),
            strides=[stride, stride],
            pads=padding.as_onnx(),
            group=groups,
        )

    def _fold(self, bn: str, *, channels: int) -> tuple[Channels, Channels]:
        """Batch normalisation as one factor and one addend for each channel."""
        parts = {part: self.take(f"{bn}.{part}") for part in BATCH_NORM_PARTS}
        for part, value in parts.items():
            if value.shape != (channels,):
                raise ModelInvalid(
                    f"The tensor '{bn}.{part}' has shape {value.shape}, not {(channels,)}."
                )
        scale = parts["weight"] / np.sqrt(parts["running_var"] + self.epsilon)
        return scale, parts["bias"] - parts["running_mean"] * scale

    def linear(self, x: str, layer: str, *, output: str) -> int:
        """A fully connected layer that gives `output`; returns the number of its outputs."""
        weight, bias = self.take(f"{layer}.weight"), self.take(f"{layer}.bias")
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ModelInvalid(f"The tensors of '{layer}' do not fit each other.")
        inputs = [
            x,
            self.constant(f"{layer}.weight", weight),
            self.constant(f"{layer}.bias", bias),
        ]
        self.nodes.append(helper.make_node("Gemm", inputs, [output], name=layer, transB=1))
        return int(weight.shape[0])

    def pool_to_embedding(self, x: str) -> None:
        """The mean over all positions, as the output `embedding`."""
        pooled = self.node("GlobalAveragePool", [x], "pool")
        self.nodes.append(
            helper.make_node("Flatten", [pooled], [EMBEDDING], name=EMBEDDING, axis=1)
        )

    def finish(self, architecture: str, *, size: int, classes: int, width: int) -> ClassifierGraph:
        """Close and check the graph; ModelInvalid when tensors are left over or do not fit."""
        self.check_used(architecture)
        model = self.model(
            architecture,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 3, size, size])],
            [
                helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["n", classes]),
                helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["n", width]),
            ],
            opset=OPSET,
            ir_version=IR_VERSION,
        )
        _check(model, architecture)
        return ClassifierGraph(model, architecture, size, classes, width)


def _check(model: onnx.ModelProto, architecture: str) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelInvalid(f"The tensors do not form a {architecture}: {reason}") from error
