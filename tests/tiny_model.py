"""A model of a few kilobytes, made on the spot, with the outputs and manifest of a real one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from skerry.models.manifest import (
    MANIFEST_FILE,
    ImageManifest,
    ImageModel,
    Preprocess,
    Source,
    Variant,
)

SIZE = 32
CLASSES = 10
FEATURES = 16


def tiny_graph(*, seed: int = 0, size: int = SIZE) -> onnx.ModelProto:
    """Convolutions, a depthwise one, an addition, pooling and a head, like an EfficientNet."""
    random = np.random.default_rng(seed)
    weights: list[onnx.TensorProto] = []

    def weight(name: str, *shape: int, scale: float = 1.0) -> str:
        values = random.normal(0, scale / np.sqrt(np.prod(shape[1:]) or 1), shape)
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    weights.append(numpy_helper.from_array(np.float32(0), "zero"))
    weights.append(numpy_helper.from_array(np.float32(6), "six"))
    nodes = [
        helper.make_node(
            "Conv", ["input", weight("w0", 8, 3, 3, 3, scale=4), weight("b0", 8)], ["c0"],
            name="stem", strides=[2, 2], pads=[1, 1, 1, 1],
        ),
        helper.make_node("Clip", ["c0", "zero", "six"], ["r0"], name="stem_clip"),
        helper.make_node(
            "Conv", ["r0", weight("w1", 8, 1, 3, 3, scale=2), weight("b1", 8)], ["c1"],
            name="depthwise", group=8, pads=[1, 1, 1, 1],
        ),
        helper.make_node("Clip", ["c1", "zero", "six"], ["r1"], name="depthwise_clip"),
        helper.make_node("Conv", ["r1", weight("w2", 8, 8, 1, 1)], ["c2"], name="project"),
        helper.make_node("Add", ["c2", "r0"], ["a2"], name="add"),
        helper.make_node(
            "Conv", ["a2", weight("w3", FEATURES, 8, 1, 1, scale=2), weight("b3", FEATURES)],
            ["c3"], name="head_conv",
        ),
        helper.make_node("Clip", ["c3", "zero", "six"], ["r3"], name="head_clip"),
        helper.make_node("GlobalAveragePool", ["r3"], ["p3"], name="pool"),
        helper.make_node("Flatten", ["p3"], ["embedding"], name="flatten"),
        helper.make_node(
            "Gemm", ["embedding", weight("w4", CLASSES, FEATURES, scale=4), weight("b4", CLASSES)],
            ["logits"], name="head", transB=1,
        ),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, size, size])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", FEATURES]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def install_tiny(folder: Path, *, name: str = "tiny", seed: int = 0) -> ImageModel:
    """Install the tiny model in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(tiny_graph(seed=seed), path)
    model = ImageModel(
        ImageManifest(
            name=name,
            architecture="tiny",
            preprocess=Preprocess(
                size=SIZE,
                crop="center",
                resample="bicubic",
                mean=(127.0, 127.0, 127.0),
                std=(128.0, 128.0, 128.0),
                crop_fraction=0.9,
            ),
            labels=tuple(f"class {i}" for i in range(CLASSES)),
            embedding_size=FEATURES,
            space="tiny-space",
            source=Source(kind="file", location="tests"),
            license="Apache-2.0",
            variants=(variant_of(path, precision="fp32"),),
        ),
        folder,
    )
    (folder / MANIFEST_FILE).write_bytes(model.manifest.encoded())
    return model


def variant_of(path: Path, *, precision: str, passed: bool = True) -> Variant:
    """Describe a graph that lies in a model's folder."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Variant(
        precision=precision,  # type: ignore[arg-type]
        file=path.name,
        sha256=digest,
        bytes=path.stat().st_size,
        passed=passed,
    )


def tiny_images(count: int, *, seed: int = 1) -> np.ndarray:
    """Tensors as decode() gives them: float32 (count, 3, SIZE, SIZE), about -1 to 1."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(-1, 1, (count, 3, 4, 4))
    return np.kron(coarse, np.ones((1, 1, SIZE // 4, SIZE // 4))).astype(np.float32)
