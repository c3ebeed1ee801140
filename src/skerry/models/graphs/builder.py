"""Build an ONNX graph layer by layer from named tensors, folding batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import EMBEDDING, INPUT, LOGITS, ClassifierGraph

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


class GraphBuilder:
    """Adds layers one after another; each method takes and gives the name of a tensor.

    Every tensor of `weights` must be used by the end: one left over means that the file holds
    another architecture than the one built, whose answers would be wrong without a word.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]], *, epsilon: float) -> None:
        self.weights = weights
        self.epsilon = epsilon
        self.unused = {name for name in weights if not name.endswith(".num_batches_tracked")}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def take(self, name: str) -> NDArray[np.float64]:
        """The tensor of this name, in double precision for folding; ModelInvalid when absent."""
        if name not in self.weights:
            raise ModelInvalid(f"The file lacks the tensor '{name}'.")
        self.unused.discard(name)
        return self.weights[name].astype(np.float64)

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

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Add one node; its output carries its name."""
        output = f"{name}.output"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.float64]) -> str:
        """Add a float32 constant."""
        array = np.asarray(value, dtype=np.float32, order="C")
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def scalar(self, name: str, value: float) -> str:
        """Add a float32 constant without dimensions."""
        return self.constant(name, np.asarray(value, np.float64))

    def finish(self, architecture: str, *, size: int, classes: int, width: int) -> ClassifierGraph:
        """Close and check the graph; ModelInvalid when tensors are left over or do not fit."""
        if self.unused:
            names = sorted(self.unused)
            raise ModelInvalid(
                f"This is not a plain {architecture}: it has no place for the tensor "
                f"'{names[0]}' and {len(names) - 1} others.",
                remedy="Export the model to ONNX and add that file instead.",
            )
        graph = helper.make_graph(
            self.nodes,
            architecture,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 3, size, size])],
            [
                helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["n", classes]),
                helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["n", width]),
            ],
            self.initializers,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="skerry",
        )
        _check(model, architecture)
        return ClassifierGraph(model, architecture, size, classes, width)


def _check(model: onnx.ModelProto, architecture: str) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelInvalid(f"The tensors do not form a {architecture}: {reason}") from error
