"""Small models with random weights, made here, in the forms that a user brings."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]
Weights = dict[str, NDArray[Any]]
BLOCKS = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}


def random_resnet(
    depth: int, *, width: int = 8, classes: int = 5, groups: int = 1, seed: int = 0
) -> Weights:
    """A state dict under torchvision's names, narrower than the real one."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}

    def conv_bn(conv: str, bn: str, out: int, into: int, kernel: int) -> None:
        deviation = 1.0 / np.sqrt(into * kernel * kernel)
        weights[f"{conv}.weight"] = rng.normal(0, deviation, (out, into, kernel, kernel))
        weights[f"{bn}.weight"] = rng.uniform(0.5, 1.5, out)
        weights[f"{bn}.bias"] = rng.normal(0, 0.2, out)
        weights[f"{bn}.running_mean"] = rng.normal(0, 0.2, out)
        weights[f"{bn}.running_var"] = rng.uniform(0.5, 2.0, out)
        weights[f"{bn}.num_batches_tracked"] = np.asarray(7)

    bottleneck, blocks = BLOCKS[depth]
    conv_bn("conv1", "bn1", width, 3, 7)
    into = width
    for stage, count in enumerate(blocks):
        inner = width * 2**stage
        out = inner * 4 if bottleneck else inner
        for index in range(count):
            name = f"layer{stage + 1}.{index}"
            if bottleneck:
                conv_bn(f"{name}.conv1", f"{name}.bn1", inner, into, 1)
                conv_bn(f"{name}.conv2", f"{name}.bn2", inner, inner // groups, 3)
                conv_bn(f"{name}.conv3", f"{name}.bn3", out, inner, 1)
            else:
                conv_bn(f"{name}.conv1", f"{name}.bn1", inner, into, 3)
                conv_bn(f"{name}.conv2", f"{name}.bn2", inner, inner, 3)
            if index == 0 and (into != out or stage > 0):
                conv_bn(f"{name}.downsample.0", f"{name}.downsample.1", out, into, 1)
            into = out
    weights["fc.weight"] = rng.normal(0, 0.1, (classes, into))
    weights["fc.bias"] = rng.normal(0, 0.1, classes)
    return {
        name: value if value.dtype.kind == "i" else value.astype(np.float32)
        for name, value in weights.items()
    }


def resnet_forward(weights: Weights, images: Array) -> tuple[Array, Array]:
    """Logits and features, by numpy alone: no folding, no engine (He et al. 2015)."""
    x = _relu(_batch_norm(weights, "bn1", _conv(weights["conv1.weight"], images, 2, 3)))
    x = _max_pool(x)
    names = {name.rsplit(".", 2)[0] for name in weights if name.startswith("layer")}
    blocks = {name for name in names if name.count(".") == 1}
    for block in sorted(blocks, key=lambda b: [int(part) for part in b[5:].split(".")]):
        stride = 2 if block.endswith(".0") and not block.startswith("layer1") else 1
        x = _block(weights, block, x, stride)
    features = x.mean(axis=(2, 3))
    return features @ weights["fc.weight"].T + weights["fc.bias"], features


def _block(weights: Weights, name: str, x: Array, stride: int) -> Array:
    convs = sorted(n for n in weights if n.startswith(f"{name}.conv"))
    strided = "conv2" if len(convs) == 3 else "conv1"
    y = x
    for number, conv in enumerate(convs, start=1):
        step = stride if strided in conv else 1
        y = _conv(weights[conv], y, step, weights[conv].shape[-1] // 2)
        y = _batch_norm(weights, f"{name}.bn{number}", y)
        y = _relu(y) if number < len(convs) else y
    if f"{name}.downsample.0.weight" in weights:
        x = _conv(weights[f"{name}.downsample.0.weight"], x, stride, 0)
        x = _batch_norm(weights, f"{name}.downsample.1", x)
    return _relu(y + x)


def _conv(kernel: Array, x: Array, stride: int, edge: int) -> Array:
    x = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    side = kernel.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    groups = x.shape[1] // kernel.shape[1]
    parts = zip(np.split(windows, groups, 1), np.split(kernel, groups, 0), strict=True)
    return np.concatenate([np.einsum("nchwij,ocij->nohw", w, k) for w, k in parts], 1)


def _batch_norm(weights: Weights, name: str, x: Array) -> Array:
    def column(part: str) -> Array:
        return weights[f"{name}.{part}"][:, None, None]

    normal = (x - column("running_mean")) / np.sqrt(column("running_var") + 1e-5)
    return normal * column("weight") + column("bias")


def _max_pool(x: Array) -> Array:
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return windows[:, :, ::2, ::2].max(axis=(4, 5))


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def images(size: int, *, count: int = 2, seed: int = 1) -> Array:
    """Noise as float32 (count, 3, size, size)."""
    shape = (count, 3, size, size)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def write_checkpoint(path: Path, tensors: Weights, *, data_pickle: bytes | None = None) -> Path:
    """A `.pth` as torch.save writes it; `data_pickle` puts other opcodes in its place."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data_pickle or state_dict_pickle(tensors))
        archive.writestr("archive/byteorder", "little")
        for index, value in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{index}", np.ascontiguousarray(value).tobytes())
    return path


def state_dict_pickle(tensors: Weights) -> bytes:
    """The opcodes that torch writes for an OrderedDict of tensors."""
    body = b"".join(_item(index, *pair) for index, pair in enumerate(tensors.items()))
    return b"\x80\x02" + _ordered_dict() + b"(" + body + b"u."


def _item(index: int, name: str, value: NDArray[Any]) -> bytes:
    storage = {"f": b"FloatStorage", "i": b"LongStorage"}[value.dtype.kind]
    strides = [stride // value.itemsize for stride in np.ascontiguousarray(value).strides]
    reference = (
        b"(" + _text("storage") + b"ctorch\n" + storage + b"\n" + _text(str(index))
        + _text("cpu") + _number(value.size) + b"tQ"
    )  # fmt: skip
    arguments = (
        b"(" + reference + _number(0) + _numbers(value.shape) + _numbers(strides[: value.ndim])
        + b"\x89" + _ordered_dict() + b"tR"
    )  # fmt: skip
    return _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments


def _ordered_dict() -> bytes:
    return b"ccollections\nOrderedDict\n)R"


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _numbers(values: Any) -> bytes:
    return b"(" + b"".join(_number(int(value)) for value in values) + b"t"


class Malice:
    """Unpickles to a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def malicious_pickle(function: Any, *arguments: Any) -> bytes:
    """A pickle whose loading calls `function`."""
    return pickle.dumps({"weight": Malice(function, *arguments)}, protocol=2)


class OnnxClassifier:
    """A convolution, pooling and a linear layer; tests change what they are about."""

    def __init__(self, *, size: int = 32, classes: int = 5, width: int = 6) -> None:
        rng = np.random.default_rng(3)
        self.constants = {
            "kernel": rng.normal(0, 0.3, (width, 3, 3, 3)).astype(np.float32),
            "head": rng.normal(0, 0.5, (classes, width)).astype(np.float32),
            "bias": rng.normal(0, 0.5, classes).astype(np.float32),
        }
        self.input_type = TensorProto.FLOAT
        self.input_shape: list[Any] = ["batch", 3, size, size]
        self.output = "scores"
        self.output_shape: list[Any] = ["batch", classes]
        self.extra_inputs: list[onnx.ValueInfoProto] = []
        node = helper.make_node
        self.nodes = [
            node("Conv", ["pixels", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
            node("Relu", ["maps"], ["active"]),
            node("GlobalAveragePool", ["active"], ["pooled"]),
            node("Flatten", ["pooled"], ["features"], axis=1),
            node("Gemm", ["features", "head", "bias"], ["scores"], transB=1),
        ]

    def replace(self, output: str, *nodes: onnx.NodeProto) -> None:
        """Put other nodes where the node that gives `output` stands."""
        at = next(i for i, node in enumerate(self.nodes) if output in node.output)
        self.nodes[at : at + 1] = nodes

    def model(self) -> onnx.ModelProto:
        """The graph as a model of opset 17."""
        make = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "classifier",
            [make("pixels", self.input_type, self.input_shape), *self.extra_inputs],
            [make(self.output, TensorProto.FLOAT, self.output_shape)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)

    def save(self, path: Path) -> Path:
        """Write the model to `path`."""
        onnx.save(self.model(), path)
        return path
