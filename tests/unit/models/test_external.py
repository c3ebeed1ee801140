"""Weights lie beside their graph, where engines of several nodes can map one copy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from skerry.models.architectures import build_graph
from skerry.models.external import ALIGNMENT_BYTES, EMBED_BELOW_BYTES, write_graph
from skerry.models.files import sha256_of

from .making import images, random_resnet, resnet_forward

SIZE = 64


def write(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """A narrow ResNet-18 as two files."""
    folder.mkdir(exist_ok=True)
    graph = build_graph(random_resnet(18, seed=seed), size=SIZE)
    files = write_graph(graph.model, folder, stem="fp32")
    return folder / files[0].file, folder / files[1].file


def test_both_engines_read_the_graph_with_its_weights_beside_it(tmp_path: Path) -> None:
    graph, _ = write(tmp_path)
    batch = images(SIZE)
    expected = resnet_forward(random_resnet(18), batch)[0]
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(["logits"], {"input": batch})[0], expected, atol=1e-4)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(graph, "CPU", exact)
    assert np.allclose(compiled([batch])["logits"], expected, atol=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_openvino_maps_the_weights_instead_of_copying_them(tmp_path: Path) -> None:
    graph, weights = write(tmp_path)
    model = openvino.Core().read_model(graph)
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = [line for line in maps if str(weights) in line]
    assert mapped, "the weights file is not mapped"
    assert len(model.outputs) == 2


def test_large_tensors_lie_on_pages_and_small_ones_in_the_graph(tmp_path: Path) -> None:
    graph, _ = write(tmp_path)
    model = onnx.load(graph, load_external_data=False)
    for tensor in model.graph.initializer:
        outside = {entry.key: entry.value for entry in tensor.external_data}
        if outside:
            assert int(outside["offset"]) % ALIGNMENT_BYTES == 0
            assert int(outside["length"]) >= EMBED_BELOW_BYTES
        else:
            assert len(tensor.raw_data) < EMBED_BELOW_BYTES


def test_equal_weights_give_equal_files(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    assert [path.name for path in first] == [path.name for path in second]
    assert [sha256_of(path) for path in first] == [sha256_of(path) for path in second]


def test_the_graphs_own_digest_changes_with_the_weights(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", seed=0), write(tmp_path / "b", seed=1)
    assert first[1].stat().st_size == second[1].stat().st_size
    assert sha256_of(first[0]) != sha256_of(second[0])
