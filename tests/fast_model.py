"""A models folder with one model that runs in microseconds, for tests of everything but models."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from skerry.models.manifest import Preprocess
from skerry.models.store import ModelStore

NAME = "fast"
SIDE, FEATURES, CLASSES = 16, 48, 8
ENVIRON = {"SKERRY_MODELS_IMAGE": NAME, "SKERRY_MODELS_ENGINE": "onnx"}
"""Makes a node use it."""


def install_fast_model(folder: Path, *, name: str = NAME, seed: int = 0) -> Path:
    """Add the model to the models folder `folder`, unless it is there."""
    store = ModelStore(folder)
    if any(model.manifest.name == name for model in store.list()):
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "fast.onnx"
        onnx.save(_graph(seed), path)
        store.add(
            path,
            name=name,
            labels=[f"class {i}" for i in range(CLASSES)],
            preprocess=Preprocess(SIDE, "stretch", "bilinear", (127.0,) * 3, (64.0,) * 3),
        )
    return folder


def _graph(seed: int) -> onnx.ModelProto:
    """Two random projections: unlike images get unlike features, equal ones equal features."""
    random = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(random.normal(0, 0.04, (n, m)).astype(np.float32), name)
        for name, n, m in (("w0", 3 * SIDE * SIDE, FEATURES), ("w1", FEATURES, CLASSES))
    ]
    nodes = [
        helper.make_node("Flatten", ["input"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "w0"], ["features"]),
        helper.make_node("MatMul", ["features", "w1"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fast",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model
