"""From an encoder's vectors of tokens to one of length 1, in operators that any opset has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from skerry.models.graphs.base import EMBEDDING, MASK
from skerry.models.manifest import PoolingKind

SMALLEST_NORM = 1e-12
"""Below it a vector is not scaled, as in torch's `normalize`."""


class Pooling:
    """Nodes and constants that end in the output `embedding`.

    Sums over tokens are products of matrices: ReduceSum, Unsqueeze and their like take their
    axes as attributes in some opsets and as inputs in others.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def pool(self, hidden: str, kind: PoolingKind) -> str:
        """One vector (n, d) of the tokens' (n, length, d): their masked mean, or the first."""
        if kind == "cls":
            return self._node("Gather", [hidden, self._integers("first", 0)], "cls", axis=1)
        mask = self._node("Cast", [MASK], "mask", to=TensorProto.FLOAT)
        row = self._node("Reshape", [mask, self._integers("row_shape", [0, 1, -1])], "row")
        column = self._node("Reshape", [mask, self._integers("column_shape", [0, -1, 1])], "column")
        total = self._node("MatMul", [row, hidden], "total")
        # The mask is of zeros and ones: its product with itself counts the tokens.
        count = self._node("MatMul", [row, column], "count")
        mean = self._node("Div", [total, count], "mean")
        return self._node("Reshape", [mean, self._integers("flat_shape", [0, -1])], "flat")

    def normalize(self, vector: str) -> None:
        """Scale (n, d) to length 1, as the output `embedding`."""
        row = self._node("Reshape", [vector, self._integers("norm_row_shape", [0, 1, -1])], "r")
        column = self._node(
            "Reshape", [vector, self._integers("norm_column_shape", [0, -1, 1])], "c"
        )
        square = self._node("MatMul", [row, column], "square")
        squeezed = self._node("Reshape", [square, self._integers("square_shape", [0, 1])], "s")
        norm = self._node("Sqrt", [squeezed], "norm")
        self.initializers.append(
            numpy_helper.from_array(np.float32(SMALLEST_NORM), "skerry.smallest_norm")
        )
        divisor = self._node("Max", [norm, "skerry.smallest_norm"], "divisor")
        self.nodes.append(helper.make_node("Div", [vector, divisor], [EMBEDDING], name=EMBEDDING))

    def _node(self, operator: str, inputs: Sequence[str], name: str, **attributes: int) -> str:
        output = f"skerry.{name}.output"
        node = helper.make_node(operator, inputs, [output], name=f"skerry.{name}", **attributes)
        self.nodes.append(node)
        return output

    def _integers(self, name: str, values: Sequence[int] | int) -> str:
        full = f"skerry.{name}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values, np.int64), full))
        return full
