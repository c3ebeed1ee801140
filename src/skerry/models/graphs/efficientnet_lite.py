"""EfficientNet-Lite 0 to 4 (Tan & Le 2019, the variant without squeeze-and-excitation)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import EMBEDDING, LOGITS, ClassifierGraph
from skerry.models.graphs.convolutions import ConvolutionBuilder, Padding

# (blocks, channels of the last block) -> number of the variant
VARIANTS = {(16, 320): 0, (21, 320): 1, (21, 352): 2, (26, 384): 3, (33, 448): 4}
STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
BATCH_NORM_EPSILON = 1e-3
RELU6_MAX = 6.0


def recognises(weights: Mapping[str, NDArray[Any]]) -> bool:
    """Whether the names are those of the PyTorch port of EfficientNet-Lite."""
    return "_conv_stem.weight" in weights and "_blocks.0._depthwise_conv.weight" in weights


def build(weights: Mapping[str, NDArray[Any]], *, size: int) -> ClassifierGraph:
    """The classifier for images of `size`; ModelInvalid when the tensors do not fit."""
    return _Lite(weights, size=size).build()


class _Lite:
    """Walks through the layers, keeping the side of the image that the padding depends on."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], *, size: int) -> None:
        self.builder = ConvolutionBuilder(weights, epsilon=BATCH_NORM_EPSILON)
        self.weights = weights
        self.size = size
        self.side = size

    def build(self) -> ClassifierGraph:
        widths = self._block_widths()
        variant = VARIANTS.get((len(widths), widths[-1]))
        if variant is None:
            raise ModelInvalid(
                f"An EfficientNet-Lite of {len(widths)} blocks ending in {widths[-1]} channels "
                "is not known."
            )
        x = self._conv("input", "_conv_stem", "_bn0", stride=2, active=True)
        for index, stride in enumerate(_strides(widths)):
            x = self._block(x, f"_blocks.{index}", stride=stride)
        x = self._conv(x, "_conv_head", "_bn1", active=True)
        self.builder.pool_to_embedding(x)
        classes = self.builder.linear(EMBEDDING, "_fc", output=LOGITS)
        width = self.weights["_fc.weight"].shape[1]
        name = f"efficientnet-lite{variant}"
        return self.builder.finish(name, size=self.size, classes=classes, width=width)

    def _block_widths(self) -> list[int]:
        """Channels that each block gives."""
        widths: list[int] = []
        while (name := f"_blocks.{len(widths)}._project_conv.weight") in self.weights:
            widths.append(self.builder.kernel_shape(name.removesuffix(".weight"))[0])
        if not widths:
            raise ModelInvalid("The file lacks the tensor '_blocks.0._project_conv.weight'.")
        return widths

    def _block(self, x: str, name: str, *, stride: int) -> str:
        y = x
        if f"{name}._expand_conv.weight" in self.weights:
            y = self._conv(y, f"{name}._expand_conv", f"{name}._bn0", active=True)
        y = self._conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, active=True)
        y = self._conv(y, f"{name}._project_conv", f"{name}._bn2", active=False)
        if stride == 1 and self._keeps_width(name):
            y = self.builder.node("Add", [y, x], f"{name}.add")
        return y

    def _keeps_width(self, name: str) -> bool:
        project = self.builder.kernel_shape(f"{name}._project_conv")
        if f"{name}._expand_conv.weight" in self.weights:
            return self.builder.kernel_shape(f"{name}._expand_conv")[1] == project[0]
        return self.builder.kernel_shape(f"{name}._depthwise_conv")[0] == project[0]

    def _conv(self, x: str, conv: str, bn: str, *, stride: int = 1, active: bool) -> str:
        shape = self.builder.kernel_shape(conv)
        groups = shape[0] if conv.endswith("_depthwise_conv") else 1
        padding = same_padding(self.side, kernel=shape[-1], stride=stride)
        self.side = -(-self.side // stride)
        y = self.builder.conv_bn(x, conv, bn, stride=stride, padding=padding, groups=groups)
        return self._relu6(y, f"{conv}.relu6") if active else y

    def _relu6(self, x: str, name: str) -> str:
        if not any(tensor.name == "zero" for tensor in self.builder.initializers):
            self.builder.scalar("zero", 0.0)
            self.builder.scalar("six", RELU6_MAX)
        return self.builder.node("Clip", [x, "zero", "six"], name)


def same_padding(side: int, *, kernel: int, stride: int) -> Padding:
    """TensorFlow's SAME: output side = ceil(side / stride), the odd zero below and right."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return Padding(total // 2, total - total // 2)


def _strides(widths: list[int]) -> list[int]:
    """Stride of each block: a stage begins where the number of channels changes."""
    stages = -1
    strides = []
    for index, width in enumerate(widths):
        begins = index == 0 or width != widths[index - 1]
        stages += begins
        strides.append(STAGE_STRIDES[stages] if begins else 1)
    return strides
