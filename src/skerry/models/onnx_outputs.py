"""Find the logits and the features of a user's ONNX graph."""

from __future__ import annotations

from difflib import get_close_matches

import onnx
from onnx import helper, numpy_helper

from skerry.errors import ModelInvalid

# What may stand between the layer that computes the logits and the output.
RESHAPES = {"Flatten", "Reshape", "Squeeze"}
PASSES_ON = RESHAPES | {
    "Add",
    "Cast",
    "Clip",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Identity",
    "Mul",
    "QuantizeLinear",
}
NAME_IT = (
    "Name the tensor that holds the features with --embedding; netron or "
    "'python -m onnx.printer' shows the names."
)


def logits_behind(graph: onnx.GraphProto, output: str, *, notes: list[str]) -> str:
    """The tensor before a final Softmax, since Skerry applies its own; else `output`."""
    producers = _producers(graph)
    name = output
    while (node := producers.get(name)) is not None and node.op_type in ("Identity", "Softmax"):
        name = str(node.input[0])
        if node.op_type == "Softmax":
            notes.append(f"The Softmax before '{output}' was left out; Skerry applies its own.")
            return name
    if node is not None and node.op_type == "Sigmoid":
        raise ModelInvalid(
            f"'{output}' comes from a Sigmoid: a model of several labels at once is not supported.",
            remedy="Use a model whose classes exclude each other.",
        )
    return output


def features_of(graph: onnx.GraphProto, logits: str) -> str:
    """The input of the Gemm or MatMul that computes `logits`; ModelInvalid when there is none."""
    producers, constants = _producers(graph), _constants(graph)
    node = producers.get(logits)
    while node is not None:
        data = [str(name) for name in node.input if name and name not in constants]
        if node.op_type in ("Gemm", "MatMul") and len(data) == 1:
            return data[0]
        if node.op_type in RESHAPES:  # the shape may be computed from the data too
            data = data[:1]
        if node.op_type not in PASSES_ON or len(data) != 1:
            break
        node = producers.get(data[0])
    last = f"a {node.op_type}" if node is not None else "nothing"
    raise ModelInvalid(
        f"No Gemm or MatMul computes '{logits}' ({last} does), so its features are unknown.",
        remedy=NAME_IT,
    )


def check_name(graph: onnx.GraphProto, name: str) -> str:
    """`name` if a tensor of the graph is called so; else ModelInvalid with the nearest names."""
    known = list(_producers(graph))
    if name in known:
        return name
    near = ", ".join(get_close_matches(name, known, n=3, cutoff=0.3)) or ", ".join(known[-3:])
    raise ModelInvalid(f"The graph has no tensor '{name}'.", remedy=f"Near it: {near}.")


def add_pooling(graph: onnx.GraphProto, name: str) -> str:
    """Average `name` (n, d, h, w) over its positions; returns the name of the result (n, d)."""
    pooled, flat = f"{name}.skerry_pooled", f"{name}.skerry_features"
    graph.node.append(helper.make_node("GlobalAveragePool", [name], [pooled]))
    graph.node.append(helper.make_node("Flatten", [pooled], [flat], axis=1))
    return flat


def widen_reshapes(graph: onnx.GraphProto) -> int:
    """Let constant Reshapes to a batch of one keep any batch; returns how many were changed.

    Whether they meant the batch is for the run that follows to show.
    """
    nodes = [node for node in graph.node if node.op_type == "Reshape"]
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                shapes[node.output[0]] = attribute.t
    widened = {node.input[1] for node in nodes if _widen(shapes.get(node.input[1]))}
    for node in nodes:
        if node.input[1] in widened:  # with allowzero, 0 would mean an empty dimension
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
    return len(widened)


def _widen(tensor: onnx.TensorProto | None) -> bool:
    """Turn a shape of (1, ...) into (the same, ...); False for any other."""
    if tensor is None:
        return False
    shape = numpy_helper.to_array(tensor).copy()
    if shape.size < 2 or shape[0] != 1 or 0 in shape:
        return False
    shape[0] = 0
    tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    return True


def _producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {output: node for node in graph.node for output in node.output if output}


def _constants(graph: onnx.GraphProto) -> set[str]:
    """Names whose values do not depend on the input."""
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if all(name in constants for name in inputs):
            constants.update(node.output)
    return constants
