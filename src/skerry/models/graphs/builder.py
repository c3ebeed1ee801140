"""Build an ONNX graph node by node from named tensors, each of which must find its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from skerry.errors import ModelInvalid


class GraphBuilder:
    """Adds nodes one after another; a method that adds one gives the name of its output.

    Every tensor of `weights` must be used by the end: one left over means that the file holds
    another architecture than the one built, whose answers would be wrong without a word.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.weights = weights
        self.unused = set(weights)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.mapped: dict[str, NDArray[Any]] = {}

    def take(self, name: str) -> NDArray[Any]:
        """The tensor of this name; ModelInvalid when absent."""
        if name not in self.weights:
            raise ModelInvalid(f"The file lacks the tensor '{name}'.")
        self.unused.discard(name)
        return self.weights[name]

    def node(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add one node; its output carries its name."""
        output = f"{name}.output"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a float32 constant."""
        array = np.asarray(value, dtype=np.float32, order="C")
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def scalar(self, name: str, value: float) -> str:
        """Add a float32 constant without dimensions."""
        return self.constant(name, np.asarray(value, np.float64))

    def integers(self, name: str, values: Sequence[int] | int) -> str:
        """Add an int64 constant: a shape, axes, or an index."""
        self.initializers.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def mapped_constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a float32 constant whose numbers stay where they are until they are written.

        `value` may be a view of a mapped file, transposed, or of half precision.
        """
        if not np.isfinite(value).all():
            raise ModelInvalid(f"The tensor '{name}' holds values that are not finite numbers.")
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
        self.initializers.append(tensor)
        self.mapped[name] = value
        return name

    def check_used(self, architecture: str) -> None:
        """ModelInvalid when tensors are left over."""
        if self.unused:
            names = sorted(self.unused)
            raise ModelInvalid(
                f"This is not a plain {architecture}: it has no place for the tensor "
                f"'{names[0]}' and {len(names) - 1} others.",
                remedy="Export the model to ONNX and add that file instead.",
            )

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        *,
        opset: int,
        ir_version: int,
    ) -> onnx.ModelProto:
        """The nodes and constants as a model."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=ir_version,
            producer_name="skerry",
        )
