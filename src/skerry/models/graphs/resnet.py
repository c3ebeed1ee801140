"""ResNet and ResNeXt (He et al. 2015, Xie et al. 2016) under torchvision's tensor names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import EMBEDDING, LOGITS, ClassifierGraph
from skerry.models.graphs.convolutions import ConvolutionBuilder, Padding

# (blocks have a bottleneck, blocks per stage) -> number of layers
DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
BATCH_NORM_EPSILON = 1e-5
BLOCK = re.compile(r"layer(\d+)\.(\d+)\.")


def recognises(weights: Mapping[str, NDArray[Any]]) -> bool:
    """Whether the names are those of torchvision's ResNet."""
    return "conv1.weight" in weights and "layer1.0.conv1.weight" in weights


def build(weights: Mapping[str, NDArray[Any]], *, size: int) -> ClassifierGraph:
    """The classifier for images of `size`; any width, groups and number of classes.

    Raises ModelInvalid for another number of blocks, or tensors that are missing or left over.
    """
    bottleneck = "layer1.0.conv3.weight" in weights
    blocks = _blocks_per_stage(weights)
    if (bottleneck, blocks) not in DEPTHS:
        raise ModelInvalid(
            f"A ResNet with {blocks} blocks is not known.",
            remedy="Known: ResNet-18, 34, 50, 101 and 152. Export others to ONNX and add that.",
        )
    builder = ConvolutionBuilder(weights, epsilon=BATCH_NORM_EPSILON)
    x = _conv(builder, "input", "conv1", "bn1", stride=2)
    x = builder.node("Relu", [x], "relu")
    x = builder.node(
        "MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    for stage, count in enumerate(blocks, start=1):
        for index in range(count):
            stride = 2 if stage > 1 and index == 0 else 1
            x = _block(builder, x, f"layer{stage}.{index}", stride=stride, bottleneck=bottleneck)
    builder.pool_to_embedding(x)
    classes = builder.linear(EMBEDDING, "fc", output=LOGITS)
    return builder.finish(
        _name(builder, DEPTHS[bottleneck, blocks]),
        size=size,
        classes=classes,
        width=weights["fc.weight"].shape[1],
    )


def _blocks_per_stage(weights: Mapping[str, NDArray[Any]]) -> tuple[int, ...]:
    found = {(int(m[1]), int(m[2])) for name in weights if (m := BLOCK.match(name))}
    stages = sorted({stage for stage, _ in found})
    return tuple(sum(stage == s for stage, _ in found) for s in stages)


def _block(builder: ConvolutionBuilder, x: str, name: str, *, stride: int, bottleneck: bool) -> str:
    # torchvision strides in the 3x3 convolution of a bottleneck, not in the 1x1 before it.
    strides = (1, stride, 1) if bottleneck else (stride, 1)
    y = x
    for number, step in enumerate(strides, start=1):
        y = _conv(builder, y, f"{name}.conv{number}", f"{name}.bn{number}", stride=step)
        if number < len(strides):
            y = builder.node("Relu", [y], f"{name}.relu{number}")
    if f"{name}.downsample.0.weight" in builder.weights:
        x = _conv(builder, x, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
    total = builder.node("Add", [y, x], f"{name}.add")
    return builder.node("Relu", [total], f"{name}.relu")


def _conv(builder: ConvolutionBuilder, x: str, conv: str, bn: str, *, stride: int) -> str:
    edge = builder.kernel_shape(conv)[-1] // 2
    groups = _groups(builder, conv)
    return builder.conv_bn(x, conv, bn, stride=stride, padding=Padding(edge, edge), groups=groups)


def _groups(builder: ConvolutionBuilder, conv: str) -> int:
    """How many groups a bottleneck's 3x3 convolution has: more than one in a ResNeXt."""
    block, _, layer = conv.rpartition(".")
    if layer != "conv2":
        return 1
    return builder.kernel_shape(f"{block}.conv1")[0] // builder.kernel_shape(conv)[1]


def _name(builder: ConvolutionBuilder, depth: int) -> str:
    grouped = _groups(builder, "layer1.0.conv2") > 1
    return f"{'resnext' if grouped else 'resnet'}{depth}"
