"""Take in a user's ONNX classifier: check it, find its features, free its batch dimension."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import ClassifierGraph
from skerry.models.onnx_outputs import (
    add_pooling,
    check_name,
    features_of,
    logits_behind,
    widen_reshapes,
)
from skerry.models.probe import Probe

CHANNELS = 3
REEXPORT = "Export it again, with float32 input (batch, 3, height, width) and a dynamic batch."


def import_onnx(
    path: Path, *, classes: int, size: int, embedding: str | None = None
) -> ClassifierGraph:
    """The graph of `path` with logits and embedding as its outputs, and a dynamic batch.

    `size` counts where the graph leaves its image's size open. `embedding` names any tensor of
    the graph; without it, the features are the input of the Gemm or MatMul that computes the
    logits. The graph is run once in ONNX Runtime to see that it answers, each image by itself.
    Raises ModelInvalid.
    """
    model = load_onnx(path)
    name = _input_name(model)
    notes: list[str] = []
    size = _fix_input(model, name, size=size, notes=notes)
    probe = _working_probe(model, name, size)
    output = _choose_logits(probe, classes=classes, notes=notes)
    logits = logits_behind(model.graph, output, notes=notes)
    features = check_name(model.graph, embedding) if embedding else features_of(model.graph, logits)
    _set_outputs(model, (logits, features))
    probe = Probe(model, name, size)
    if (flat := _flat_features(model, features, probe, notes=notes)) != features:
        features = flat
        _set_outputs(model, (logits, features))
        probe = Probe(model, name, size)
    probe.check_images_are_independent()
    width = int(probe.outputs[features].shape[1])
    _set_outputs(model, (logits, features), widths=(classes, width))
    return ClassifierGraph(
        model=model,
        architecture="onnx",
        size=size,
        classes=classes,
        embedding_size=width,
        input=name,
        logits=logits,
        embedding=features,
        notes=tuple(notes),
    )


def load_onnx(path: Path) -> onnx.ModelProto:
    """A checked model, its external weights loaded; ModelInvalid."""
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelInvalid(f"{path.name} is not a valid ONNX model: {reason}") from error
    return model


def _input_name(model: onnx.ModelProto) -> str:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelInvalid(
            f"An image model has one input; this has {len(inputs)}: {names}.", remedy=REEXPORT
        )
    kind = inputs[0].type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        raise ModelInvalid(
            f"The input '{inputs[0].name}' is {TensorProto.DataType.Name(kind).lower()}, "
            "not float32.",
            remedy=REEXPORT,
        )
    return str(inputs[0].name)


def _fix_input(model: onnx.ModelProto, name: str, *, size: int, notes: list[str]) -> int:
    """Make the input (n, 3, size, size); returns the size, the graph's own where it has one."""
    value = next(v for v in model.graph.input if v.name == name)
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if len(dims) != 4:
        raise ModelInvalid(
            f"The input '{name}' has {len(dims)} dimensions, not 4.", remedy=REEXPORT
        )
    if dims[1] not in (0, CHANNELS):
        layout = "channels last (NHWC)" if dims[3] == CHANNELS else f"{dims[1]} channels"
        raise ModelInvalid(
            f"The input '{name}' of shape {dims} has {layout}; Skerry gives (n, 3, height, width).",
            remedy=REEXPORT,
        )
    height, width = dims[2] or dims[3] or size, dims[3] or dims[2] or size
    if height != width:
        raise ModelInvalid(
            f"The input is {height} x {width}; only square images are prepared.", remedy=REEXPORT
        )
    if height != size:
        notes.append(f"Images are prepared at the graph's own size, {height}, not at {size}.")
    fixed = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", CHANNELS, height, height])
    value.CopyFrom(fixed)
    # Shapes inferred by the exporter may hold the old batch; engines infer them anew.
    del model.graph.value_info[:]
    return height


def _working_probe(model: onnx.ModelProto, name: str, size: int) -> Probe:
    """The first run, on two images; a batch fixed at one in a Reshape is freed if need be."""
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        return Probe(model, name, size)
    except ModelInvalid:
        if not widen_reshapes(model.graph):
            raise
    return Probe(model, name, size)


def _choose_logits(probe: Probe, *, classes: int, notes: list[str]) -> str:
    """The output with one column per label."""
    tables = {name: v.shape[1] for name, v in probe.outputs.items() if _is_table(v)}
    if not tables:
        shapes = {name: value.shape for name, value in probe.outputs.items()}
        raise ModelInvalid(f"No output is a table of logits (n, classes): {shapes}.")
    fitting = [name for name, width in tables.items() if width == classes]
    if not fitting:
        widths = " or ".join(str(width) for width in tables.values())
        raise ModelInvalid(
            f"The model gives {widths} logits, but {classes} labels were given.",
            remedy="Give one label for each logit, in the order of the model's outputs.",
        )
    if len(probe.outputs) > 1:
        notes.append(f"Of the outputs {', '.join(probe.outputs)}, '{fitting[0]}' gives the labels.")
    return fitting[0]


def _is_table(value: np.ndarray) -> bool:
    return value.ndim == 2 and value.dtype == np.float32


def _flat_features(model: onnx.ModelProto, name: str, probe: Probe, *, notes: list[str]) -> str:
    """The name of the features as (n, d); a map (n, d, h, w) is averaged over its positions."""
    value = probe.outputs[name]
    if _is_table(value):
        return name
    if value.ndim == 4 and value.dtype == np.float32:
        notes.append(f"The features are '{name}', averaged over its {value.shape[2:]} positions.")
        return add_pooling(model.graph, name)
    raise ModelInvalid(
        f"'{name}' has shape {value.shape}; features are float32 (n, d) or (n, d, h, w).",
        remedy="Name another tensor with --embedding.",
    )


def _set_outputs(
    model: onnx.ModelProto, names: tuple[str, str], *, widths: tuple[int, int] | None = None
) -> None:
    """Make `names` the outputs, of shape (n, width) where the widths are known."""
    shapes = [None, None] if widths is None else [["n", width] for width in widths]
    del model.graph.output[:]
    for name, shape in zip(names, shapes, strict=True):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
