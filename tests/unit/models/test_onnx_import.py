"""A user's ONNX file is taken in with its features, or refused with what to do about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import ClassifierGraph
from skerry.models.onnx_import import import_onnx

from .making import OnnxClassifier, images

SIZE, CLASSES = 32, 5
node = helper.make_node


def take_in(
    classifier: OnnxClassifier, folder: Path, embedding: str | None = None
) -> ClassifierGraph:
    path = classifier.save(folder / "model.onnx")
    return import_onnx(path, classes=CLASSES, size=SIZE, embedding=embedding)


def run(graph: ClassifierGraph, batch: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        graph.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run([graph.logits, graph.embedding], {graph.input: batch}))


def expected(classifier: OnnxClassifier, batch: np.ndarray) -> list[np.ndarray]:
    """Scores and features of the graph as the user wrote it, one image at a time."""
    model = classifier.model()
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = [session.run(["scores", "features"], {"pixels": image[None]}) for image in batch]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def assert_answers_alike(graph: ClassifierGraph, classifier: OnnxClassifier) -> None:
    batch = images(SIZE, count=3)
    for found, wanted in zip(run(graph, batch), expected(classifier, batch), strict=True):
        assert np.allclose(found, wanted, atol=1e-5)


def test_features_are_what_the_last_gemm_reads(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    graph = take_in(classifier, tmp_path)
    assert (graph.logits, graph.embedding, graph.embedding_size) == ("scores", "features", 6)
    assert graph.notes == ()
    assert_answers_alike(graph, classifier)


def test_features_are_found_behind_a_matmul_with_an_added_bias(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    classifier.constants["head"] = np.ascontiguousarray(classifier.constants["head"].T)
    classifier.replace(
        "scores",
        node("MatMul", ["features", "head"], ["product"]),
        node("Add", ["bias", "product"], ["scores"]),
    )
    graph = take_in(classifier, tmp_path)
    assert graph.embedding == "features"
    assert_answers_alike(graph, classifier)


def test_a_batch_fixed_at_one_is_freed(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    classifier.input_shape[0] = classifier.output_shape[0] = 1
    graph = take_in(classifier, tmp_path)
    assert_answers_alike(graph, classifier)


@pytest.mark.parametrize("allow_zero", [0, 1])
@pytest.mark.parametrize("as_node", [True, False])
def test_a_batch_fixed_in_a_reshape_is_freed(
    tmp_path: Path, as_node: bool, allow_zero: int
) -> None:
    classifier = OnnxClassifier()
    classifier.input_shape[0] = classifier.output_shape[0] = 1
    shape = np.asarray([1, -1])
    flatten = [node("Reshape", ["pooled", "shape"], ["features"], allowzero=allow_zero)]
    if as_node:
        value = onnx.numpy_helper.from_array(shape)
        flatten.insert(0, node("Constant", [], ["shape"], value=value))
    else:
        classifier.constants["shape"] = shape
    classifier.replace("features", *flatten)
    graph = take_in(classifier, tmp_path)
    assert_answers_alike(graph, classifier)


def test_a_graph_that_mixes_the_images_of_a_batch_is_refused(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    classifier.replace(
        "active",
        node("ReduceMean", ["maps"], ["mean"], axes=[0], keepdims=1),
        node("Sub", ["maps", "mean"], ["active"]),
    )
    with pytest.raises(ModelInvalid, match="alone and in a batch") as caught:
        take_in(classifier, tmp_path)
    assert "eval()" in caught.value.remedy


def test_a_final_softmax_is_left_out_and_said(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    classifier.nodes.append(node("Softmax", ["scores"], ["probabilities"]))
    classifier.output = "probabilities"
    graph = take_in(classifier, tmp_path)
    assert graph.logits == "scores"
    assert "Softmax" in graph.notes[0]
    classifier.nodes.pop()
    classifier.output = "scores"
    assert_answers_alike(graph, classifier)


def test_a_model_of_several_labels_at_once_is_refused(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    classifier.nodes.append(node("Sigmoid", ["scores"], ["chances"]))
    classifier.output = "chances"
    with pytest.raises(ModelInvalid, match="Sigmoid"):
        take_in(classifier, tmp_path)


def test_another_number_of_labels_names_both(tmp_path: Path) -> None:
    path = OnnxClassifier(classes=7).save(tmp_path / "model.onnx")
    with pytest.raises(ModelInvalid, match="7 logits, but 5 labels"):
        import_onnx(path, classes=5, size=SIZE)


def without_gemm() -> OnnxClassifier:
    classifier = OnnxClassifier(width=CLASSES)
    classifier.replace("scores", node("Identity", ["features"], ["scores"]))
    return classifier


def test_without_a_gemm_the_features_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="No Gemm or MatMul") as caught:
        take_in(without_gemm(), tmp_path)
    assert "--embedding" in caught.value.remedy


def test_a_named_feature_map_is_averaged_over_its_positions(tmp_path: Path) -> None:
    graph = take_in(without_gemm(), tmp_path, "active")
    logits, features = run(graph, images(SIZE))
    assert graph.embedding_size == CLASSES
    assert np.allclose(features, logits, atol=1e-5)  # here, the scores are that average
    assert "averaged" in graph.notes[0]


def test_an_unknown_tensor_names_those_near_it(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="'featurs'") as caught:
        take_in(OnnxClassifier(), tmp_path, "featurs")
    assert "features" in caught.value.remedy


def test_the_graphs_own_size_counts_before_the_presets(tmp_path: Path) -> None:
    path = OnnxClassifier(size=48).save(tmp_path / "model.onnx")
    graph = import_onnx(path, classes=CLASSES, size=224)
    assert graph.size == 48
    assert "48" in graph.notes[0]
    assert "224" in graph.notes[0]


def test_an_open_size_takes_the_presets(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    classifier.input_shape = ["batch", 3, "height", "width"]
    graph = take_in(classifier, tmp_path)
    dims = graph.model.graph.input[0].type.tensor_type.shape.dim
    assert (graph.size, dims[2].dim_value, dims[3].dim_value) == (SIZE, SIZE, SIZE)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (["n", SIZE, SIZE, 3], "NHWC"),
        (["n", 1, SIZE, SIZE], "1 channels"),
        (["n", 3, SIZE], "3 dimensions"),
        (["n", 3, SIZE, 2 * SIZE], f"{SIZE} x {2 * SIZE}"),
    ],
)
def test_inputs_of_another_shape_are_refused(
    tmp_path: Path, shape: list[object], message: str
) -> None:
    classifier = OnnxClassifier()
    classifier.input_shape = shape
    with pytest.raises(ModelInvalid, match=message) as caught:
        take_in(classifier, tmp_path)
    assert caught.value.remedy


def test_inputs_of_another_type_are_refused(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    classifier.input_type = TensorProto.UINT8
    classifier.nodes.insert(0, node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT))
    classifier.nodes[1].input[0] = "floats"
    with pytest.raises(ModelInvalid, match="uint8, not float32"):
        take_in(classifier, tmp_path)


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    classifier.extra_inputs = [helper.make_tensor_value_info("size", TensorProto.INT64, [2])]
    with pytest.raises(ModelInvalid, match="pixels, size"):
        take_in(classifier, tmp_path)


def test_weights_beside_the_graph_are_read(tmp_path: Path) -> None:
    classifier = OnnxClassifier()
    onnx.save(
        classifier.model(),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    graph = import_onnx(tmp_path / "m.onnx", classes=CLASSES, size=SIZE)
    assert_answers_alike(graph, classifier)
    (tmp_path / "m.data").unlink()
    with pytest.raises(ModelInvalid, match=r"m\.onnx"):
        import_onnx(tmp_path / "m.onnx", classes=CLASSES, size=SIZE)


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    whole = OnnxClassifier().save(tmp_path / "model.onnx").read_bytes()
    for data in (b"", b"not a model", whole[: len(whole) // 2]):
        (tmp_path / "bad.onnx").write_bytes(data)
        with pytest.raises(ModelInvalid, match=r"bad\.onnx|input"):
            import_onnx(tmp_path / "bad.onnx", classes=CLASSES, size=SIZE)
