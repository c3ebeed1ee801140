"""Every encoder keeps the same contract, on the same small graph."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from skerry.backends import backend_class
from skerry.errors import ConfigError, ModelUnavailable
from skerry.inference.cpu import this_cpu
from skerry.inference.encoder import Encoder, TokenBatch
from skerry.models.manifest import EmbeddingModel
from tiny_encoder import (
    LABELS,
    WIDTH,
    install_tiny_classifier,
    install_tiny_encoder,
    tiny_encoder_graph,
)

ENCODERS = ["openvino", "onnx"]


@pytest.fixture
def model(tmp_path: Path) -> EmbeddingModel:
    return install_tiny_encoder(tmp_path / "tiny")


@pytest.fixture(params=ENCODERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def load(kind: str, model: Any, precision: str = "fp32", **options: Any) -> Encoder:
    return backend_class("encoders", kind)(model, precision=precision, **options)


def batch(*texts: list[int]) -> TokenBatch:
    length = max(map(len, texts))
    ids = np.array([[*text, *[0] * (length - len(text))] for text in texts], np.int64)
    mask = np.array([[1] * len(text) + [0] * (length - len(text)) for text in texts], np.int64)
    return TokenBatch(ids, mask)


def some_texts(count: int, *, seed: int = 1) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(5, 30, random.integers(1, 15)).tolist() for _ in range(count)]


def test_values_equal_the_reference_evaluator(kind: str, model: EmbeddingModel) -> None:
    tokens = batch(*some_texts(5))
    inputs = {
        "input_ids": tokens.ids,
        "attention_mask": tokens.mask,
        "token_type_ids": np.zeros_like(tokens.ids),
    }
    (expected,) = ReferenceEvaluator(tiny_encoder_graph()).run(None, inputs)
    output = load(kind, model).run(tokens)
    np.testing.assert_allclose(output.values, expected, atol=1e-5)
    assert (output.values.dtype, output.values.shape) == (np.float32, (5, WIDTH))
    assert 0 < output.elapsed_s < 5


def precisions(kind: str) -> list[str]:
    if kind == "onnx":
        return ["fp32"]
    return ["fp32", "int8", *(["bf16"] if this_cpu().has_bf16 else [])]


def test_a_text_has_the_same_vector_alone_and_padded_beside_others(
    kind: str, model: EmbeddingModel
) -> None:
    texts = some_texts(20)
    for precision in precisions(kind):
        encoder = load(kind, model, precision)
        together = encoder.run(batch(*texts)).values
        for text, values in zip(texts, together, strict=True):
            np.testing.assert_allclose(encoder.run(batch(text)).values[0], values, atol=1e-3)


def test_int8_stays_near_fp32(model: EmbeddingModel) -> None:
    texts = batch(*some_texts(30))
    exact = load("openvino", model).run(texts).values
    rounded = load("openvino", model, "int8").run(texts).values
    cosines = (exact * rounded).sum(axis=1)
    assert 0.99 < cosines.mean() < 1 - 1e-7


def test_lengths_and_counts_may_change_from_call_to_call(kind: str, model: EmbeddingModel) -> None:
    encoder = load(kind, model)
    for count, length in ((1, 1), (7, 16), (1, 16), (32, 2), (3, 9)):
        values = encoder.run(batch(*[[5] * length] * count)).values
        assert values.shape == (count, WIDTH)
        np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)


def test_a_result_is_not_overwritten_by_the_next_call(kind: str, model: EmbeddingModel) -> None:
    encoder = load(kind, model, threads=1)
    first = encoder.run(batch([5, 6, 7])).values
    kept = first.copy()
    encoder.run(batch([9, 8, 7]))
    np.testing.assert_array_equal(first, kept)


def test_threads_get_their_own_answers(kind: str, model: EmbeddingModel) -> None:
    encoder = load(kind, model, threads=8)
    texts = some_texts(40)
    alone = [encoder.run(batch(text)).values for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda at: encoder.run(batch(texts[at % 40])).values, range(200)))
    for at, values in enumerate(together):
        np.testing.assert_allclose(values, alone[at % 40], atol=1e-5)


def test_streams_are_fewer_than_threads(kind: str, model: EmbeddingModel) -> None:
    assert load(kind, model, threads=1).streams == 1
    assert load(kind, model, threads=2).streams == 1
    assert load(kind, model, threads=8).streams == 2


def test_a_classifier_gives_logits(kind: str, tmp_path: Path) -> None:
    encoder = load(kind, install_tiny_classifier(tmp_path / "classifier"))
    assert encoder.width == len(LABELS)
    assert encoder.run(batch([5, 6], [7])).values.shape == (2, len(LABELS))


def test_info_names_what_runs(kind: str, model: EmbeddingModel) -> None:
    encoder = load(kind, model)
    info = encoder.info
    assert (info.model, info.engine, info.device) == ("tiny-encoder", kind, "cpu")
    assert (info.precision, info.space, encoder.width) == ("fp32", "tiny-texts", WIDTH)
    assert len(info.fingerprint) == 64


def test_other_weights_or_precisions_have_another_fingerprint(kind: str, tmp_path: Path) -> None:
    one = load(kind, install_tiny_encoder(tmp_path / "a")).info
    same = load(kind, install_tiny_encoder(tmp_path / "b")).info
    other = load(kind, install_tiny_encoder(tmp_path / "c", seed=9)).info
    assert one.fingerprint == same.fingerprint != other.fingerprint
    if kind == "openvino":
        rounded = load(kind, install_tiny_encoder(tmp_path / "d"), "int8").info
        assert rounded.fingerprint != one.fingerprint


def test_a_damaged_file_is_unavailable_and_named(kind: str, model: EmbeddingModel) -> None:
    (model.folder / "model.onnx").write_bytes(b"\x08\x08not a graph" * 50)
    with pytest.raises(ModelUnavailable, match=r"model\.onnx.*tiny-encoder"):
        load(kind, model)


def test_a_missing_file_is_unavailable_and_named(kind: str, model: EmbeddingModel) -> None:
    (model.folder / "model.onnx").unlink()
    with pytest.raises(ModelUnavailable, match=r"tiny-encoder.*model\.onnx"):
        load(kind, model)


def test_a_closed_encoder_says_so(kind: str, model: EmbeddingModel) -> None:
    encoder = load(kind, model)
    encoder.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        encoder.run(batch([5]))


def test_a_token_beyond_the_vocabulary_does_not_end_the_process(
    kind: str, model: EmbeddingModel
) -> None:
    # Tokens checks ids before they come here: this is the second line of defence.
    encoder = load(kind, model)
    with suppress(ModelUnavailable):
        encoder.run(batch([5, 1_000_000]))
    assert encoder.run(batch([5])).values.shape == (1, WIDTH)


def test_what_this_machine_lacks_is_refused_with_a_remedy(model: EmbeddingModel) -> None:
    refused = [("onnx", "bf16", "cpu"), ("onnx", "int8", "cpu"), ("openvino", "fp32", "npu"),
               ("onnx", "fp32", "coreml")]  # fmt: skip
    if not this_cpu().has_bf16:
        refused.append(("openvino", "bf16", "cpu"))
    for kind, precision, device in refused:
        with pytest.raises(ConfigError) as caught:
            load(kind, model, precision, device=device)
        assert caught.value.remedy


def test_on_a_cpu_the_weights_are_not_kept_once_more(
    kind: str, model: EmbeddingModel, tmp_path: Path
) -> None:
    load(kind, model, cache_folder=tmp_path)
    assert list(tmp_path.iterdir()) == [model.folder]


def test_the_encoder_alone_brings_openvino_in_with_care(tmp_path: Path) -> None:
    program = (
        "import sys, skerry.inference.encoders.openvino; print('openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr
