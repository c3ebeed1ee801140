"""`auto` takes what measured best on this CPU among what stayed near fp32."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from skerry.config import ModelSettings
from skerry.errors import ConfigError
from skerry.inference import selection
from skerry.inference.comparison import compare
from skerry.inference.cpu import Cpu, this_cpu
from skerry.inference.int8_graph import int8_graph
from skerry.inference.loading import choose, load_engine
from skerry.inference.probe_photos import probe_tensors
from skerry.inference.ranges import measured_ranges
from skerry.inference.selection import Measurement, PrecisionResult, measure_precisions
from skerry.metrics import Metrics
from skerry.models.manifest import ImageModel
from tiny_model import install_tiny, tiny_graph, tiny_images, variant_of


def with_int8(model: ImageModel, *, passed: bool = True, broken: bool = False) -> ImageModel:
    images = probe_tensors(model.manifest.preprocess)
    ranges = measured_ranges(tiny_graph(), images, input_name="input")
    graph = int8_graph(tiny_graph(), ranges)
    if broken:
        for tensor in graph.graph.initializer:
            if tensor.name == "w3_quantized":
                turned = np.roll(numpy_helper.to_array(tensor), 3, axis=0)
                tensor.CopyFrom(numpy_helper.from_array(turned.copy(), tensor.name))
    path = model.folder / "int8.onnx"
    onnx.save(graph, path)
    variants = (*model.manifest.variants, variant_of(path, precision="int8", passed=passed))
    manifest = msgspec.structs.replace(model.manifest, variants=variants)
    return ImageModel(manifest, model.folder)


@pytest.fixture
def model(tmp_path: Path) -> ImageModel:
    return install_tiny(tmp_path / "tiny")


def results(measurement: Measurement) -> dict[str, PrecisionResult]:
    return {result.precision: result for result in measurement.results}


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_each_precision_that_may_pass_is_measured(engine: str, model: ImageModel) -> None:
    measured = results(measure_precisions(with_int8(model), engine=engine))
    assert {"fp32", "int8"} <= set(measured)
    assert ("bf16" in measured) == (engine == "openvino" and this_cpu().has_bf16)
    assert measured["fp32"].passed
    assert measured["int8"].passed
    assert measured["int8"].cosine > 0.98
    assert all(result.latency_ms > 0 for result in measured.values())


def test_an_int8_that_strays_from_fp32_is_not_chosen(model: ImageModel) -> None:
    measurement = measure_precisions(with_int8(model, broken=True))
    assert not results(measurement)["int8"].passed
    assert measurement.best.precision != "int8"


def test_an_int8_that_failed_its_own_check_is_not_even_tried(model: ImageModel) -> None:
    assert "int8" not in results(measure_precisions(with_int8(model, passed=False)))


def test_the_fastest_that_passed_is_best() -> None:
    def result(precision: str, latency_ms: float, *, passed: bool = True) -> PrecisionResult:
        return PrecisionResult(precision, latency_ms, 1.0, 1.0, passed)

    fast_but_wrong = (result("fp32", 9.0), result("bf16", 5.0), result("int8", 2.0, passed=False))
    assert Measurement("m", "openvino", "cpu", {}, fast_but_wrong).best.precision == "bf16"
    slow = (result("fp32", 9.0), result("int8", 12.0))
    assert Measurement("m", "openvino", "cpu", {}, slow).best.precision == "fp32"


def test_a_measurement_is_made_once_and_then_read(
    model: ImageModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "skerry")
    first = selection.best_precision(model, engine="onnx", threads=1)
    stored = next(model.folder.glob("measured-*.json"))
    assert this_cpu().signature in stored.name
    before = stored.stat().st_mtime_ns
    assert selection.best_precision(model, engine="onnx", threads=1) == first
    assert stored.stat().st_mtime_ns == before
    assert caplog.text.count("measuring precisions") == 1


def test_a_new_variant_makes_a_measurement_stale(model: ImageModel) -> None:
    selection.best_precision(model, engine="onnx", threads=1)
    later = selection.best_precision(with_int8(model), engine="onnx", threads=1)
    assert "int8" in results(later)


def test_a_damaged_measurement_is_made_again_and_said(
    model: ImageModel, caplog: pytest.LogCaptureFixture
) -> None:
    selection.best_precision(model, engine="onnx", threads=1)
    stored = next(model.folder.glob("measured-*.json"))
    stored.write_text("{")
    assert selection.best_precision(model, engine="onnx", threads=1).best.precision == "fp32"
    assert "measuring again" in caplog.text
    assert stored.read_text() != "{"


def test_another_cpu_has_another_signature() -> None:
    one = Cpu("EPYC", "x86_64", frozenset({"avx2"}), 2)
    assert one.signature == Cpu("EPYC", "x86_64", frozenset({"avx2"}), 2).signature
    others = [
        Cpu("Xeon", "x86_64", frozenset({"avx2"}), 2),
        Cpu("EPYC", "x86_64", frozenset({"avx2", "avx512_vnni"}), 2),
        Cpu("EPYC", "x86_64", frozenset({"avx2"}), 4),
        Cpu("EPYC", "x86_64", frozenset({"avx2"}), 2, "AVX2"),
    ]
    assert len({one.signature, *(other.signature for other in others)}) == 5


def test_flags_tell_what_a_cpu_can_do_and_a_held_down_one_cannot() -> None:
    new = Cpu("new", "x86_64", frozenset({"avx512_bf16", "avx512_vnni"}), 2)
    assert new.has_bf16
    assert new.has_int8_dot_product
    held = Cpu("new", "x86_64", new.flags, 2, "AVX2")
    assert not held.has_bf16
    assert not held.has_int8_dot_product
    assert Cpu("new", "x86_64", new.flags, 2, "AVX2_VNNI").has_int8_dot_product
    old = Cpu("old", "x86_64", frozenset({"avx2"}), 2)
    assert not old.has_bf16
    assert not old.has_int8_dot_product


def test_nothing_is_measured_where_there_is_nothing_to_choose(model: ImageModel) -> None:
    choice = choose(model, settings=ModelSettings(engine="onnx"))
    assert choice.precision == "fp32"
    assert not list(model.folder.glob("measured-*"))


def test_openvino_is_preferred_on_x86_and_onnx_runtime_elsewhere() -> None:
    assert Cpu("a", "x86_64", frozenset(), 1).engine == "openvino"
    assert Cpu("a", "aarch64", frozenset(), 1).engine == "onnx"


def test_auto_is_resolved_and_said_in_the_log(
    model: ImageModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "skerry")
    metrics = Metrics()
    engine = load_engine(with_int8(model), settings=ModelSettings(threads=1), metrics=metrics)
    assert engine.info.precision in ("fp32", "bf16", "int8")
    assert engine.info.device == "cpu"
    assert engine.streams == 1
    said = f"loaded 'tiny' on {engine.info.engine} cpu in {engine.info.precision}"
    assert said in caplog.text
    labels = {"model": "tiny", "precision": engine.info.precision}
    assert metrics.registry.get_sample_value("skerry_model_load_seconds", labels) > 0
    assert engine.run(tiny_images(1)).logits.shape == (1, 10)


def test_named_settings_are_taken_as_they_are(model: ImageModel) -> None:
    settings = ModelSettings(engine="onnx", device="cpu", precision="fp32")
    choice = choose(model, settings=settings)
    assert (choice.engine, choice.device, choice.precision) == ("onnx", "cpu", "fp32")
    assert not list(model.folder.glob("measured-*"))


@pytest.mark.parametrize(
    ("device", "engine"), [("cuda", "onnx"), ("coreml", "onnx"), ("gpu", "openvino"),
                           ("npu", "openvino")],
)  # fmt: skip
def test_a_device_brings_its_engine(device: str, engine: str, model: ImageModel) -> None:
    assert choose(model, settings=ModelSettings(device=device)).engine == engine


@pytest.mark.parametrize(
    "settings",
    [
        ModelSettings(device="tpu"),
        ModelSettings(engine="tensorrt"),
        ModelSettings(precision="int4"),
        ModelSettings(engine="openvino", device="cuda"),
    ],
)
def test_settings_that_cannot_be_met_are_refused_with_a_remedy(
    settings: ModelSettings, model: ImageModel
) -> None:
    with pytest.raises(ConfigError) as caught:
        choose(model, settings=settings)
    assert caught.value.remedy


def test_probe_photos_are_prepared_as_the_model_asks(model: ImageModel) -> None:
    preprocess = msgspec.structs.replace(model.manifest.preprocess, size=64)
    tensors = probe_tensors(preprocess)
    assert 12 <= len(tensors) <= 16
    assert tensors.shape[1:] == (3, 64, 64)


def test_comparison_counts_agreement_and_cosine() -> None:
    reference = (np.eye(4, dtype=np.float32) * 9, np.eye(4, dtype=np.float32))
    same = compare(reference, reference)
    assert (same.agreement, same.sure_agreement, same.mean_cosine) == (1.0, 1.0, 1.0)
    logits = reference[0].copy()
    logits[0] = logits[1]
    turned = reference[1].copy()
    turned[0] = turned[1]
    other = compare((logits, turned), reference)
    assert (other.agreement, other.mean_cosine, other.min_cosine) == (0.75, 0.75, 0.0)
    assert other.images == 4


def test_a_near_tie_counts_for_agreement_but_not_among_the_sure() -> None:
    features = np.ones((2, 3), np.float32)
    reference = np.array([[9, 0], [1.00, 1.01]], np.float32)
    flipped = np.array([[9, 0], [1.01, 1.00]], np.float32)
    nearness = compare((flipped, features), (reference, features))
    assert nearness.agreement == 0.5
    assert nearness.sure_agreement == 1.0
