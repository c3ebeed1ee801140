"""INT8 graphs: near to fp32, and the same on CPUs that add products in 16 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import numpy_helper

from skerry.errors import ModelInvalid
from skerry.inference.int8_graph import int8_graph, pair_safe_scales
from skerry.inference.ranges import Ranges, measured_ranges
from tiny_model import tiny_graph, tiny_images


@pytest.fixture(scope="module")
def ranges() -> Ranges:
    return measured_ranges(tiny_graph(), tiny_images(24), input_name="input")


@pytest.fixture
def converted(ranges: Ranges) -> onnx.ModelProto:
    return int8_graph(tiny_graph(), ranges)


def session(graph: onnx.ModelProto, **config: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    for key, value in config.items():
        options.add_session_config_entry(key.replace("__", "."), value)
    return onnxruntime.InferenceSession(graph.SerializeToString(), options)


def test_ranges_hold_every_value_the_images_give(ranges: Ranges) -> None:
    images = tiny_images(24)
    low, high = ranges["input"]
    assert (low, high) == (images.min(), images.max())
    [logits] = session(tiny_graph()).run(["logits"], {"input": images})
    np.testing.assert_allclose(ranges["logits"], (logits.min(), logits.max()), rtol=1e-5)


def test_int8_outputs_stay_near_fp32(converted: onnx.ModelProto) -> None:
    images = tiny_images(50, seed=7)
    exact = session(tiny_graph()).run(["embedding"], {"input": images})[0]
    rough = session(converted).run(["embedding"], {"input": images})[0]
    cosines = (
        np.sum(exact * rough, 1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    )
    assert cosines.min() > 0.99
    assert np.abs(exact - rough).max() > 1e-6  # it is not fp32 under another name


def test_names_of_input_and_outputs_are_kept(converted: onnx.ModelProto) -> None:
    assert [value.name for value in converted.graph.input] == ["input"]
    assert {value.name for value in converted.graph.output} == {"logits", "embedding"}


def test_weights_of_convolutions_are_bytes_with_one_scale_a_channel(
    converted: onnx.ModelProto,
) -> None:
    constants = {t.name: numpy_helper.to_array(t) for t in converted.graph.initializer}
    assert constants["w2_quantized"].dtype == np.int8
    assert constants["w2_scale"].shape == (8,)
    assert not [name for name in constants if name.startswith("w4") and "quant" in name]


def test_no_sum_of_two_products_leaves_sixteen_bits(converted: onnx.ModelProto) -> None:
    constants = {t.name: numpy_helper.to_array(t) for t in converted.graph.initializer}
    for name in ("w2_quantized", "w3_quantized"):
        if name in constants:
            flat = constants[name].astype(int).reshape(len(constants[name]), -1)
            pairs = np.abs(flat[:, 1:] + flat[:, :-1])
            assert 255 * pairs.max() <= 32_767


def test_fast_and_exact_arithmetic_give_the_same_outputs(converted: onnx.ModelProto) -> None:
    # This option makes ONNX Runtime avoid the 16-bit sums on AVX2; elsewhere both are exact.
    images = tiny_images(20, seed=3)
    fast = session(converted).run(None, {"input": images})
    exact = session(converted, session__x64quantprecision="1").run(None, {"input": images})
    for one, other in zip(fast, exact, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_dead_channel_and_a_large_bias_survive(ranges: Ranges) -> None:
    graph = tiny_graph()
    for tensor in graph.graph.initializer:
        if tensor.name == "w3":
            weight = numpy_helper.to_array(tensor).copy()
            weight[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(weight, "w3"))
        if tensor.name == "b3":
            bias = numpy_helper.to_array(tensor).copy()
            bias[:2] = (3.0, 2.0)
            tensor.CopyFrom(numpy_helper.from_array(bias, "b3"))
    images = tiny_images(10)
    ranges = measured_ranges(graph, images, input_name="input")
    exact = session(graph).run(["embedding"], {"input": images})[0]
    rough = session(int8_graph(graph, ranges)).run(["embedding"], {"input": images})[0]
    np.testing.assert_allclose(rough[:, 0], exact[:, 0], atol=0.05)


def test_a_graph_without_convolutions_is_refused() -> None:
    graph = tiny_graph()
    for node in list(graph.graph.node):
        if node.op_type == "Conv":
            node.op_type = "Custom"
    with pytest.raises(ModelInvalid, match="convolutions"):
        int8_graph(graph, {})


# A weight below 1e-30 has a scale that is no normal float, with too few digits to keep bounds.
sizes = st.one_of(st.just(0.0), st.floats(2.0**-100, 8, width=32))
signed = st.builds(lambda size, sign: size * sign, sizes, st.sampled_from([1.0, -1.0]))
weights = arrays(np.float32, (3, 5, 2, 2), elements=signed)


@settings(max_examples=200)
@given(weights)
def test_scales_keep_pairs_within_bounds_and_no_coarser_than_half(weight: np.ndarray) -> None:
    scales = pair_safe_scales(weight, depthwise=False)
    plain = np.abs(weight).reshape(3, -1).max(axis=1) / 127
    assert (scales >= plain * 0.999).all()
    assert (scales <= plain * 2.001).all()
    used = np.where(scales > 0, scales, 1.0)
    rounded = np.round(weight / used[:, None, None, None]).astype(int)
    flat = np.moveaxis(rounded, 1, -1).reshape(3, -1)
    assert np.abs(flat).max() <= 127
    assert 255 * np.abs(flat[:, 1:] + flat[:, :-1]).max() <= 32_767


def test_depthwise_weights_keep_all_eight_bits() -> None:
    weight = np.full((2, 1, 3, 3), 5.0, np.float32)
    np.testing.assert_allclose(pair_safe_scales(weight, depthwise=True), 5 / 127, rtol=1e-6)


def test_saved_graph_loads_from_disk(converted: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(converted, tmp_path / "int8.onnx")
    onnx.checker.check_model(str(tmp_path / "int8.onnx"))
