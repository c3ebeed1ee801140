"""`quantize` makes an INT8 variant from a folder of images and tells the truth about it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from skerry.backends import backend_class
from skerry.config import ModelSettings
from skerry.errors import BadRequest, ModelNotFound
from skerry.inference import quantize as quantizing
from skerry.inference.comparison import Nearness
from skerry.inference.int8_variant import Judgement
from skerry.inference.loading import load_engine
from skerry.inference.quantize import apply_ranges, quantize
from skerry.inference.ranges import measured_ranges
from skerry.media.images import decode
from skerry.models.manifest import Preprocess
from skerry.models.store import ModelStore
from tiny_model import CLASSES, SIZE, tiny_graph

PREPROCESS = Preprocess(
    size=SIZE,
    crop="stretch",
    resample="bilinear",
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    source = tmp_path / "tiny.onnx"
    onnx.save(tiny_graph(), source)
    store = ModelStore(tmp_path / "models")
    labels = [f"class {i}" for i in range(CLASSES)]
    store.add(
        source,
        name="tiny",
        labels=labels,
        preprocess=PREPROCESS,
        embedding="embedding",
    )
    return store


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(4)
    for i in range(60):
        coarse = Image.fromarray(random.integers(0, 255, (5, 5, 3), dtype=np.uint8))
        coarse.resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"{i:02d}.png")
    return sorted(folder.iterdir())


def test_the_report_is_stored_with_the_variant(store: ModelStore, photos: list[Path]) -> None:
    report = quantize(store, "tiny", photos, min_agreement=0.5, min_cosine=0.5)
    model = store.get("tiny")
    variant = model.manifest.variant("int8")
    assert variant is not None
    assert report.passed
    assert variant.passed
    assert report.mean_cosine > 0.98
    assert report.min_cosine <= report.mean_cosine
    assert variant.cosine == pytest.approx(report.mean_cosine, abs=1e-4)
    assert variant.agreement == pytest.approx(report.agreement, abs=1e-4)
    assert (report.calibration_images, report.check_images) == (30, 30)
    assert min(report.fp32_latency_ms, report.int8_latency_ms) > 0
    assert report.int8_bytes == variant.bytes
    engine = backend_class("inference", "onnx")(model, precision="int8")
    assert engine.info.space == model.manifest.space


def test_what_misses_a_threshold_is_kept_but_not_passed(
    store: ModelStore, photos: list[Path]
) -> None:
    report = quantize(store, "tiny", photos, min_cosine=1.0)
    assert not report.passed
    model = store.get("tiny")
    variant = model.manifest.variant("int8")
    assert variant is not None
    assert not variant.passed
    engine = backend_class("inference", "onnx")(model, precision="int8")
    assert engine.info.space != model.manifest.space


def test_images_that_judge_took_no_part_in_the_calibration(
    store: ModelStore, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: dict[str, list[bytes]] = {"calibrate": [], "check": []}
    step = "calibrate"

    def note(name: str, done: int, total: int) -> None:
        nonlocal step
        step = name

    def spy(data: bytes, preprocess: Preprocess) -> np.ndarray:
        decoded[step].append(data)
        return decode(data, preprocess)

    monkeypatch.setattr(quantizing, "decode", spy)
    quantize(store, "tiny", photos, progress=note)
    assert len(set(decoded["calibrate"])) == len(set(decoded["check"])) == 30
    assert not set(decoded["calibrate"]) & set(decoded["check"])


def test_unreadable_files_are_named_and_left_out(
    store: ModelStore, photos: list[Path], tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no image")
    report = quantize(store, "tiny", [notes, *photos, tmp_path / "gone.jpg"])
    assert len(report.unreadable) == 2
    assert any("notes.txt" in line for line in report.unreadable)
    assert any("gone.jpg" in line for line in report.unreadable)
    assert report.calibration_images + report.check_images == 60


def test_too_few_images_are_refused(store: ModelStore, photos: list[Path]) -> None:
    with pytest.raises(BadRequest, match="at least 20"):
        quantize(store, "tiny", photos[:19])
    for path in photos[20:]:
        path.write_text("no image")
    with pytest.raises(BadRequest, match="at least 20"):
        quantize(store, "tiny", photos[12:])
    assert store.get("tiny").manifest.variant("int8") is None


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(
    threshold: float, store: ModelStore, photos: list[Path]
) -> None:
    with pytest.raises(BadRequest, match="between 0 and 1"):
        quantize(store, "tiny", photos, min_cosine=threshold)


def test_an_unknown_model_is_named(store: ModelStore, photos: list[Path]) -> None:
    with pytest.raises(ModelNotFound, match="nothing"):
        quantize(store, "nothing", photos)


def test_progress_may_stop_it_and_nothing_is_stored(store: ModelStore, photos: list[Path]) -> None:
    class Cancelled(Exception):
        pass

    def stop(step: str, done: int, total: int) -> None:
        if step == "check":
            raise Cancelled

    with pytest.raises(Cancelled):
        quantize(store, "tiny", photos, progress=stop)
    assert store.get("tiny").manifest.variant("int8") is None


def test_no_ranges_are_applied_to_weights_they_were_not_taken_with(store: ModelStore) -> None:
    assert apply_ranges(store, "tiny") is None
    assert store.get("tiny").manifest.variant("int8") is None


def test_shipped_ranges_give_int8_without_an_image(
    store: ModelStore, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = (decode(path.read_bytes(), PREPROCESS) for path in photos)
    ranges = measured_ranges(tiny_graph(), images, input_name="input")
    monkeypatch.setattr(quantizing, "shipped_ranges", lambda digest: ranges)
    model = apply_ranges(store, "tiny")
    assert model is not None
    variant = model.manifest.variant("int8")
    assert variant is not None
    assert variant.passed


def test_shipped_ranges_that_fail_here_are_not_a_default_and_it_is_said(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "skerry")
    ranges = measured_ranges(
        tiny_graph(), np.zeros((1, 3, SIZE, SIZE), np.float32), input_name="input"
    )
    far = Judgement(Nearness(0.5, 0.5, 0.6, 0.1, 14), 2.0, 1.0)
    monkeypatch.setattr(quantizing, "shipped_ranges", lambda digest: ranges)
    monkeypatch.setattr(quantizing, "judge", lambda *args, **kwargs: far)
    model = apply_ranges(store, "tiny")
    assert model is not None
    variant = model.manifest.variant("int8")
    assert variant is not None
    assert not variant.passed
    assert "failed their check" in caplog.text


def test_a_model_that_has_run_can_be_quantized_and_then_runs_int8(
    store: ModelStore, photos: list[Path]
) -> None:
    load_engine(store.get("tiny"), settings=ModelSettings(engine="openvino")).close()
    quantize(store, "tiny", photos, min_agreement=0.5)
    settings = ModelSettings(engine="openvino", precision="int8")
    engine = load_engine(store.get("tiny"), settings=settings)
    assert engine.info.precision == "int8"
    assert engine.run(np.zeros((1, 3, SIZE, SIZE), np.float32)).logits.shape == (1, CLASSES)
