"""Every engine keeps the same contract, on the same real model."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from skerry.backends import backend_class
from skerry.errors import ConfigError, ModelUnavailable
from skerry.inference.base import Engine
from skerry.inference.cpu import this_cpu
from skerry.models.manifest import ImageModel
from tiny_model import CLASSES, FEATURES, SIZE, install_tiny, tiny_graph, tiny_images, variant_of

ENGINES = ["openvino", "onnx"]


@pytest.fixture
def model(tmp_path: Path) -> ImageModel:
    return install_tiny(tmp_path / "tiny")


@pytest.fixture(params=ENGINES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def load(kind: str, model: ImageModel, precision: str = "fp32", **options: Any) -> Engine:
    return backend_class("inference", kind)(model, precision=precision, **options)


def test_outputs_equal_the_reference_evaluator(kind: str, model: ImageModel) -> None:
    images = tiny_images(5)
    logits, embedding = ReferenceEvaluator(tiny_graph()).run(None, {"input": images})
    output = load(kind, model).run(images)
    np.testing.assert_allclose(output.logits, logits, atol=1e-4)
    np.testing.assert_allclose(output.embedding, embedding, atol=1e-4)
    assert output.logits.dtype == output.embedding.dtype == np.float32
    assert (output.logits.shape, output.embedding.shape) == ((5, CLASSES), (5, FEATURES))
    assert 0 < output.elapsed_s < 5


def test_a_result_is_not_overwritten_by_the_next_call(kind: str, model: ImageModel) -> None:
    engine = load(kind, model, threads=1)
    images = tiny_images(2)
    first = engine.run(images[:1])
    kept = first.logits.copy()
    engine.run(images[1:])
    np.testing.assert_array_equal(first.logits, kept)


def test_threads_get_their_own_answers(kind: str, model: ImageModel) -> None:
    engine = load(kind, model, threads=2)
    images = tiny_images(40)
    alone = [engine.run(images[i : i + 1]).logits for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: engine.run(images[i % 40][None]).logits, range(200)))
    for i, logits in enumerate(together):
        np.testing.assert_allclose(logits, alone[i % 40], atol=1e-5)


def test_a_non_contiguous_batch_is_read_right(kind: str, model: ImageModel) -> None:
    engine = load(kind, model)
    images = tiny_images(4)
    expected = engine.run(np.ascontiguousarray(images[::2])).logits
    np.testing.assert_allclose(engine.run(images[::2]).logits, expected, atol=1e-5)


def test_info_names_what_runs(kind: str, model: ImageModel) -> None:
    info = load(kind, model).info
    assert (info.model, info.engine, info.device) == ("tiny", kind, "cpu")
    assert (info.precision, info.space) == ("fp32", "tiny-space")
    assert len(info.fingerprint) == 64


def test_other_weights_have_another_fingerprint(kind: str, tmp_path: Path) -> None:
    one = load(kind, install_tiny(tmp_path / "a")).info
    same = load(kind, install_tiny(tmp_path / "b")).info
    other = load(kind, install_tiny(tmp_path / "c", seed=9)).info
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_streams_follow_the_threads_asked_for(kind: str, model: ImageModel) -> None:
    assert load(kind, model, threads=3).streams == 3
    assert load(kind, model).streams >= 1


def test_a_wrong_shape_is_a_domain_error_and_the_engine_lives(kind: str, model: ImageModel) -> None:
    engine = load(kind, model, threads=1)
    for shape in ((1, 3, SIZE + 1, SIZE), (1, 4, SIZE, SIZE), (1, 3, SIZE)):
        with pytest.raises(ModelUnavailable):
            engine.run(np.zeros(shape, np.float32))
    assert engine.run(tiny_images(1)).logits.shape == (1, CLASSES)


def test_a_corrupt_file_is_unavailable_and_named(kind: str, model: ImageModel) -> None:
    (model.folder / "model.onnx").write_bytes(b"\x08\x08not a graph" * 50)
    with pytest.raises(ModelUnavailable, match=r"model\.onnx.*tiny"):
        load(kind, model)


def test_a_missing_file_is_unavailable_and_named(kind: str, model: ImageModel) -> None:
    (model.folder / "model.onnx").unlink()
    with pytest.raises(ModelUnavailable, match=r"tiny.*model\.onnx"):
        load(kind, model)


def test_a_missing_precision_is_unavailable_with_a_remedy(kind: str, model: ImageModel) -> None:
    with pytest.raises(ModelUnavailable, match="int8") as caught:
        load(kind, model, "int8")
    assert "quantize" in caught.value.remedy


def test_a_variant_that_failed_its_check_has_a_space_of_its_own(
    kind: str, model: ImageModel
) -> None:
    bad = variant_of(model.folder / "model.onnx", precision="fp32", passed=False)
    manifest = msgspec.structs.replace(model.manifest, variants=(bad,))
    assert load(kind, ImageModel(manifest, model.folder)).info.space != "tiny-space"


def test_a_closed_engine_says_so(kind: str, model: ImageModel) -> None:
    engine = load(kind, model)
    engine.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        engine.run(tiny_images(1))


def test_external_weights_are_read_from_their_file(kind: str, model: ImageModel) -> None:
    images = tiny_images(2)
    expected = load(kind, model).run(images).logits
    path = model.folder / "model.onnx"
    graph = onnx.load(path)
    path.unlink()
    onnx.save(graph, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    np.testing.assert_allclose(load(kind, model).run(images).logits, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "device"), [("openvino", "gpu"), ("openvino", "npu"), ("onnx", "cuda"),
                         ("onnx", "coreml")],
)  # fmt: skip
def test_an_absent_device_is_refused_with_a_remedy(
    kind: str, device: str, model: ImageModel
) -> None:
    try:
        engine = load(kind, model, device=device)
    except ConfigError as error:
        assert error.remedy
    else:
        assert engine.info.device == device
        pytest.skip(f"this machine has a {device}")


def test_onnx_runtime_refuses_bf16(model: ImageModel) -> None:
    with pytest.raises(ConfigError, match="bf16"):
        load("onnx", model, "bf16")


def test_bf16_runs_in_bf16_or_is_refused(model: ImageModel) -> None:
    if this_cpu().has_bf16:
        exact = load("openvino", model).run(tiny_images(4)).logits
        rounded = load("openvino", model, "bf16").run(tiny_images(4)).logits
        assert 0 < np.abs(rounded - exact).max() < 0.5
    else:
        with pytest.raises(ConfigError, match="bf16"):
            load("openvino", model, "bf16")


def kept_files(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_compiled_model_is_kept_and_used_again(
    kind: str, model: ImageModel, tmp_path: Path
) -> None:
    cache = tmp_path / "compiled"
    cache.mkdir()
    plain = load(kind, model).run(tiny_images(2)).logits
    first = load(kind, model, cache_folder=cache).run(tiny_images(2)).logits
    stored = kept_files(cache)
    assert stored
    again = load(kind, model, cache_folder=cache).run(tiny_images(2)).logits
    assert kept_files(cache) == stored
    np.testing.assert_allclose(first, plain, atol=1e-5)
    np.testing.assert_array_equal(first, again)


def test_a_compiled_model_is_not_used_for_other_weights(kind: str, tmp_path: Path) -> None:
    cache = tmp_path / "compiled"
    cache.mkdir()
    one, other = install_tiny(tmp_path / "a"), install_tiny(tmp_path / "b", seed=9)
    load(kind, one, cache_folder=cache)
    expected = load(kind, other).run(tiny_images(2)).logits
    got = load(kind, other, cache_folder=cache).run(tiny_images(2)).logits
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_damaged_compiled_model_is_not_used(kind: str, model: ImageModel, tmp_path: Path) -> None:
    cache = tmp_path / "compiled"
    cache.mkdir()
    expected = load(kind, model, cache_folder=cache).run(tiny_images(2)).logits
    for path in kept_files(cache):
        Path(path).chmod(0o644)
        Path(path).write_bytes(b"garbage" * 100)
    got = load(kind, model, cache_folder=cache).run(tiny_images(2)).logits
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_an_unwritable_cache_folder_costs_speed_and_not_service(
    model: ImageModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    absent = tmp_path / "absent"
    assert load("onnx", model, cache_folder=absent).run(tiny_images(1)).logits.shape == (1, CLASSES)
    assert "weights are not shared" in caplog.text


def test_processes_share_the_packed_weights(model: ImageModel, tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        pytest.skip("no /proc here")
    engine = load("onnx", model, cache_folder=tmp_path)
    assert engine.run(tiny_images(1)).logits.shape == (1, CLASSES)
    assert "packed.weights" in maps.read_text()


WATCHED_IMPORT = """
import sys
calls = []
sys.addaudithook(lambda event, args: calls.append((event, args)) if event in (
    "socket.connect", "socket.getaddrinfo", "socket.sendto") else None)
import skerry.inference.openvino, skerry.inference.onnx, threading
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(5)
print(len(calls), "openvino_telemetry" in sys.modules)
"""


def test_loading_the_engines_reports_to_nobody(tmp_path: Path) -> None:
    # Both engines report their use, openvino from Python and ONNX Runtime from C++, which keeps
    # what it will send in the user's cache folder; both are quiet in CI: so not CI here.
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED_IMPORT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["0", "False"], done.stderr
    assert list(tmp_path.iterdir()) == []
