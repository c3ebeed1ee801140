"""Graphs built from tensors answer as the architecture's own arithmetic does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from skerry.errors import ModelInvalid
from skerry.models.architectures import build_graph
from skerry.models.graphs.efficientnet_lite import same_padding

from .making import images, random_resnet, resnet_forward

SIZE = 64


def run(model: onnx.ModelProto, batch: Any) -> tuple[Any, Any]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits, embedding = session.run(["logits", "embedding"], {"input": batch})
    return logits, embedding


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_a_resnet_answers_as_numpy_does_without_folding(depth: int) -> None:
    weights = random_resnet(depth, width=4)
    graph = build_graph(weights, size=SIZE)
    batch = images(SIZE)
    expected_logits, expected_features = resnet_forward(weights, batch)
    logits, features = run(graph.model, batch)
    assert graph.architecture == f"resnet{depth}"
    assert (graph.classes, graph.embedding_size) == (5, expected_features.shape[1])
    assert np.allclose(logits, expected_logits, atol=1e-4 * np.abs(expected_logits).max())
    assert np.allclose(features, expected_features, atol=1e-4 * np.abs(expected_features).max())


def test_a_resnext_is_recognised_by_its_groups() -> None:
    weights = random_resnet(50, width=8, groups=4)
    graph = build_graph(weights, size=SIZE)
    batch = images(SIZE)
    logits, _ = run(graph.model, batch)
    assert graph.architecture == "resnext50"
    assert np.allclose(logits, resnet_forward(weights, batch)[0], atol=1e-3)


def test_the_batch_is_dynamic_and_the_size_fixed() -> None:
    graph = build_graph(random_resnet(18), size=SIZE)
    dims = graph.model.graph.input[0].type.tensor_type.shape.dim
    assert dims[0].dim_param == "n"
    assert [dim.dim_value for dim in dims[1:]] == [3, SIZE, SIZE]
    batch = images(SIZE, count=3)
    together = run(graph.model, batch)[0]
    alone = np.concatenate([run(graph.model, batch[i : i + 1])[0] for i in range(3)])
    assert np.allclose(together, alone, atol=1e-5)


def test_a_missing_tensor_is_named() -> None:
    weights = random_resnet(18)
    del weights["layer3.1.bn2.running_var"]
    with pytest.raises(ModelInvalid, match=r"layer3\.1\.bn2\.running_var"):
        build_graph(weights, size=SIZE)


def test_a_tensor_without_a_place_is_refused_and_named() -> None:
    weights = random_resnet(18) | {"layer1.0.se.fc1.weight": np.ones((2, 2), np.float32)}
    with pytest.raises(ModelInvalid, match=r"layer1\.0\.se\.fc1\.weight") as caught:
        build_graph(weights, size=SIZE)
    assert "ONNX" in caught.value.remedy


def test_an_unknown_depth_is_refused() -> None:
    weights = random_resnet(18)
    cut = {name: v for name, v in weights.items() if not name.startswith("layer4.1")}
    with pytest.raises(ModelInvalid, match=r"\(2, 2, 2, 1\)"):
        build_graph(cut, size=SIZE)


def test_shapes_that_do_not_fit_are_refused() -> None:
    weights = random_resnet(18)
    weights["layer2.0.conv1.weight"] = weights["layer2.0.conv1.weight"][:, :-1]
    with pytest.raises(ModelInvalid):
        build_graph(weights, size=SIZE)


@pytest.mark.parametrize("name", ["conv1.weight", "layer2.0.conv2.weight", "bn1.bias", "fc.weight"])
def test_a_scalar_in_place_of_a_tensor_is_refused(name: str) -> None:
    for depth in (18, 50):
        weights = random_resnet(depth) | {name: np.asarray(1.0, np.float32)}
        with pytest.raises(ModelInvalid):
            build_graph(weights, size=SIZE)


def test_an_unknown_architecture_says_what_is_known() -> None:
    with pytest.raises(ModelInvalid, match=r"visual\.proj") as caught:
        build_graph({"visual.proj": np.ones(2, np.float32)}, size=SIZE)
    assert "ResNet-18" in caught.value.remedy


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "expected"),
    [
        (224, 3, 2, (0, 1)),
        (260, 3, 2, (0, 1)),
        (112, 5, 2, (1, 2)),
        (65, 5, 2, (2, 2)),
        (7, 3, 1, (1, 1)),
    ],
)
def test_same_padding_puts_the_odd_zero_after(
    side: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    padding = same_padding(side, kernel=kernel, stride=stride)
    assert (padding.before, padding.after) == expected
    assert (side + sum(expected) - kernel) // stride + 1 == -(-side // stride)
