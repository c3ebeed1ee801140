"""An encoder is loaded as settings say, and `auto` takes what measured fastest near fp32."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from skerry.config import ModelSettings
from skerry.errors import ConfigError
from skerry.inference import text_selection
from skerry.inference.cpu import this_cpu
from skerry.inference.encoder_loading import choose_for_text, load_encoder
from skerry.inference.text_selection import measure_text_precisions, probe_tokens
from skerry.metrics import Metrics
from skerry.models.manifest import EmbeddingModel
from tiny_encoder import MAX_TOKENS, install_tiny_classifier, install_tiny_encoder


@pytest.fixture
def model(tmp_path: Path) -> EmbeddingModel:
    return install_tiny_encoder(tmp_path / "tiny")


@pytest.fixture
def int8_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_selection, "text_candidates", lambda *_, **__: ["fp32", "int8"])


def test_auto_is_resolved_and_said_in_the_log(
    model: EmbeddingModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "skerry")
    metrics = Metrics()
    encoder = load_encoder(model, settings=ModelSettings(threads=1), metrics=metrics)
    info = encoder.info
    assert info.precision in ("fp32", "bf16", "int8")
    assert f"loaded 'tiny-encoder' on {info.engine} cpu in {info.precision}" in caplog.text
    labels = {"model": "tiny-encoder", "precision": info.precision}
    assert metrics.registry.get_sample_value("skerry_model_load_seconds", labels) > 0


def test_named_settings_are_taken_as_they_are(model: EmbeddingModel) -> None:
    settings = ModelSettings(engine="onnx", precision="fp32")
    choice = choose_for_text(model, settings=settings)
    assert (choice.engine, choice.device, choice.precision) == ("onnx", "cpu", "fp32")
    int8 = load_encoder(model, settings=ModelSettings(engine="openvino", precision="int8"))
    assert int8.info.precision == "int8"
    assert not list(model.folder.glob("measured-*"))


def test_settings_that_cannot_be_met_are_refused_with_a_remedy(model: EmbeddingModel) -> None:
    for settings in (ModelSettings(device="tpu"), ModelSettings(precision="int4")):
        with pytest.raises(ConfigError) as caught:
            load_encoder(model, settings=settings)
        assert caught.value.remedy


@pytest.mark.usefixtures("int8_is_tried")
def test_precisions_are_measured_beside_fp32_and_kept(model: EmbeddingModel) -> None:
    measured = measure_text_precisions(model, engine="openvino", threads=1)
    fp32, int8 = measured.results
    assert (fp32.precision, fp32.passed, fp32.cosine) == ("fp32", True, 1.0)
    assert 0.99 < int8.cosine < 1
    assert int8.passed == (int8.cosine >= 0.997)
    assert min(fp32.latency_ms, int8.latency_ms) > 0
    (stored,) = model.folder.glob("measured-openvino-*.json")
    assert this_cpu().signature in stored.name


@pytest.mark.usefixtures("int8_is_tried")
def test_a_classifier_is_judged_by_its_labels_too(tmp_path: Path) -> None:
    model = install_tiny_classifier(tmp_path / "classifier")
    measured = measure_text_precisions(model, engine="openvino", threads=1)
    assert measured.results[1].agreement > 0.8


def test_a_measurement_is_read_the_next_time(
    model: EmbeddingModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "skerry")
    first = text_selection.best_text_precision(model, engine="openvino", threads=1)
    assert text_selection.best_text_precision(model, engine="openvino", threads=1) == first
    assert caplog.text.count("measuring precisions") == 1


def test_probe_texts_are_of_many_lengths_and_fit_the_window(model: EmbeddingModel) -> None:
    lengths = [len(ids) for ids in probe_tokens(model)]
    assert len(lengths) >= 12
    assert max(lengths) == MAX_TOKENS
    assert len(np.unique(lengths)) > 3
