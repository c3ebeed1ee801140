"""Recognise an architecture by its tensors' names and build its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from skerry.errors import ModelInvalid
from skerry.models.graphs import efficientnet_lite, resnet
from skerry.models.graphs.base import ClassifierGraph
from skerry.models.probe import Probe


def build_graph(weights: Mapping[str, NDArray[Any]], *, size: int) -> ClassifierGraph:
    """The graph of the architecture these weights belong to, for images of `size` pixels.

    Raises ModelInvalid when none is recognised or the tensors do not fit.
    """
    graph = _build(weights, size=size)
    # ONNX's checker lets a convolution pass that reads another number of channels than it gets.
    Probe(graph.model, graph.input, graph.size)
    return graph


def _build(weights: Mapping[str, NDArray[Any]], *, size: int) -> ClassifierGraph:
    if resnet.recognises(weights):
        return resnet.build(weights, size=size)
    if efficientnet_lite.recognises(weights):
        return efficientnet_lite.build(weights, size=size)
    first = ", ".join(list(weights)[:3])
    raise ModelInvalid(
        f"No known architecture has these tensors ({first}, ...).",
        remedy="Known: torchvision's ResNet-18 to 152 and EfficientNet-Lite. Export others to "
        "ONNX and add that file instead.",
    )
