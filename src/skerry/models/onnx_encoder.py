"""Take in a user's ONNX encoder: check its inputs, and end it in one vector a text."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from skerry.errors import ModelInvalid
from skerry.models.encoder_config import EncoderConfig
from skerry.models.graphs.base import EMBEDDING, IDS, LOGITS, MASK, TOKEN_TYPES, TextGraph
from skerry.models.graphs.pooling import Pooling
from skerry.models.manifest import PoolingKind, TextTask
from skerry.models.onnx_import import load_onnx

# The pooling's operators have their present form since then.
OLDEST_OPSET = 11
SENTENCE_OUTPUT = "sentence_embedding"
TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings")
REEXPORT = (
    "Export it again with int64 inputs input_ids and attention_mask (n, length), and the output "
    "last_hidden_state, sentence_embedding or logits."
)


def import_onnx_encoder(
    path: Path,
    config: EncoderConfig,
    *,
    task: TextTask,
    pooling: PoolingKind | None,
    stated: PoolingKind | None,
) -> TextGraph:
    """The graph of `path` with `embedding` or its logits as the only output; ModelInvalid.

    Where the graph gives vectors of whole texts, they are taken, unless `pooling` asks for one of
    the tokens' vectors; else these are pooled as `stated`, or by their mean.
    """
    model = load_onnx(path)
    inputs = _free_inputs(model)
    if task == "text-classification":
        output = _logits(model)
        width = _width(model, output) or config.classes
        notes: tuple[str, ...] = ()
    else:
        width, notes = _append_pooling(model, pooling, stated or "mean", hidden=config.shape.hidden)
        output = EMBEDDING
    del model.graph.output[:]
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", width])
    model.graph.output.append(value)
    return TextGraph(model, "onnx", inputs, output, width, notes=notes)


def _free_inputs(model: onnx.ModelProto) -> tuple[str, ...]:
    """Give the inputs a dynamic batch and length; returns their names."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in constants}
    if not {IDS, MASK} <= set(inputs) <= {IDS, MASK, TOKEN_TYPES}:
        raise ModelInvalid(f"The inputs are {', '.join(inputs) or 'none'}.", remedy=REEXPORT)
    for name, value in inputs.items():
        kind = value.type.tensor_type.elem_type
        if kind != TensorProto.INT64:
            raise ModelInvalid(
                f"The input '{name}' is {TensorProto.DataType.Name(kind).lower()}, not int64.",
                remedy=REEXPORT,
            )
        value.CopyFrom(helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"]))
    # Shapes inferred by the exporter may hold the old batch; engines infer them anew.
    del model.graph.value_info[:]
    return tuple(inputs)


def _logits(model: onnx.ModelProto) -> str:
    outputs = [str(value.name) for value in model.graph.output]
    if LOGITS in outputs:
        return LOGITS
    if len(outputs) == 1:
        return outputs[0]
    raise ModelInvalid(f"None of the outputs {', '.join(outputs)} is 'logits'.", remedy=REEXPORT)


def _append_pooling(
    model: onnx.ModelProto, pooling: PoolingKind | None, otherwise: PoolingKind, *, hidden: int
) -> tuple[int, tuple[str, ...]]:
    """End the graph in `embedding`; returns its width and notes."""
    _check_can_be_extended(model)
    outputs = [str(value.name) for value in model.graph.output]
    tail = Pooling()
    if pooling is None and SENTENCE_OUTPUT in outputs:
        tail.normalize(SENTENCE_OUTPUT)
        width = _width(model, SENTENCE_OUTPUT) or hidden
        notes: tuple[str, ...] = (f"Its vectors are the graph's own '{SENTENCE_OUTPUT}'.",)
    else:
        tokens = _token_output(outputs)
        tail.normalize(tail.pool(tokens, pooling or otherwise))
        width, notes = _width(model, tokens) or hidden, ()
    model.graph.node.extend(tail.nodes)
    model.graph.initializer.extend(tail.initializers)
    return width, notes


def _check_can_be_extended(model: onnx.ModelProto) -> None:
    versions = {opset.domain: opset.version for opset in model.opset_import}
    if versions.get("", OLDEST_OPSET) < OLDEST_OPSET:
        raise ModelInvalid(
            f"The graph is of opset {versions['']}.",
            remedy=f"Export it with opset {OLDEST_OPSET} or later.",
        )
    if any(EMBEDDING in node.output for node in model.graph.node):
        raise ModelInvalid(
            f"The graph has a tensor '{EMBEDDING}' of its own.",
            remedy=f"Rename it to '{SENTENCE_OUTPUT}' if it is the vector of a text.",
        )


def _token_output(outputs: list[str]) -> str:
    known = [name for name in TOKEN_OUTPUTS if name in outputs]
    if not known:
        raise ModelInvalid(
            f"None of the outputs {', '.join(outputs)} is known as the tokens' vectors.",
            remedy=REEXPORT,
        )
    return known[0]


def _width(model: onnx.ModelProto, name: str) -> int:
    """The last dimension of an output; 0 where the graph leaves it open."""
    value = next(v for v in model.graph.output if v.name == name)
    dims = value.type.tensor_type.shape.dim
    return int(dims[-1].dim_value) if dims else 0
