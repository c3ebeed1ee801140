"""Choose the precision in which a text model ran fastest here while it stayed true to fp32."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from skerry.backends import backend_class
from skerry.inference.base import Float32
from skerry.inference.comparison import MIN_AGREEMENT, compare
from skerry.inference.cpu import this_cpu
from skerry.inference.encoder import Encoder, TokenBatch
from skerry.inference.identity import TextModel
from skerry.inference.selection import (
    Measurement,
    PrecisionResult,
    keep,
    kept_or_measured,
    loaded,
)
from skerry.media.tokens import Tokens
from skerry.models.manifest import ClassifierManifest

PROBE = "data/probe/texts.txt"
MIN_COSINE = 0.997
"""Mean cosine to fp32 below which a precision is not chosen by `auto`."""
TIMED_RUNS = 6


def best_text_precision(model: TextModel, *, engine: str, threads: int) -> Measurement:
    """The stored measurement of this CPU, or a new one when there is none that still holds."""
    return kept_or_measured(
        model,
        engine=engine,
        measure=lambda: measure_text_precisions(model, engine=engine, threads=threads),
    )


def text_candidates(model: TextModel, *, engine: str) -> list[str]:
    """Precisions `auto` may choose from: fp32 first, as the others are compared with it."""
    precisions = ["fp32"]
    if engine == "openvino":
        cpu = this_cpu()
        precisions += ["bf16"] if cpu.has_bf16 else []
        # Without a dot product of bytes the matrices are turned back to float at each call.
        precisions += ["int8"] if cpu.has_int8_dot_product else []
    stored = model.manifest.variant("int8")
    if stored is not None and stored.passed and "int8" not in precisions:
        precisions.append("int8")
    return precisions


def measure_text_precisions(model: TextModel, *, engine: str, threads: int = 0) -> Measurement:
    """Run each precision that `auto` may choose on the probe texts, and store the result.

    Takes a few seconds. Raises what loading fp32 raises; another precision that does not run here
    is left out and logged.
    """
    backend = backend_class("encoders", engine)

    def make(precision: str) -> Encoder:
        made: Encoder = backend(model, precision=precision, device="cpu", threads=threads)
        return made

    encoders = loaded(make, text_candidates(model, engine=engine))
    texts = probe_tokens(model)
    try:
        values = [_one_by_one(encoder, texts) for encoder in encoders.values()]
        times = _latencies_ms(list(encoders.values()), texts, pad_id=model.manifest.text.pad_id)
    finally:
        for encoder in encoders.values():
            encoder.close()
    classifies = isinstance(model.manifest, ClassifierManifest)
    results = [
        _judged(precision, time_ms, own, reference=values[0], classifies=classifies)
        for precision, time_ms, own in zip(encoders, times, values, strict=True)
    ]
    return keep(model, engine, results)


def probe_tokens(model: TextModel) -> list[list[int]]:
    """The shipped probe texts, of one line to a paragraph, as token ids."""
    lines = (files("skerry.inference") / PROBE).read_text("utf-8").splitlines()
    text = model.manifest.text
    tokens = Tokens(model.path(text.tokenizer), max_tokens=text.max_tokens)
    return tokens.encode([line for line in lines if line], long="cut")


def _one_by_one(encoder: Encoder, texts: Sequence[Sequence[int]]) -> Float32:
    return np.concatenate([encoder.run(_batch([ids], pad_id=0)).values for ids in texts])


def _latencies_ms(
    encoders: Sequence[Encoder], texts: Sequence[Sequence[int]], *, pad_id: int
) -> list[float]:
    """Milliseconds a text in one batch; the encoders take turns, and each one's fastest counts."""
    batch = _batch(texts, pad_id=pad_id)
    turns = [[encoder.run(batch).elapsed_s for encoder in encoders] for _ in range(1 + TIMED_RUNS)]
    return [1e3 * min(times) / len(texts) for times in zip(*turns[1:], strict=True)]


def _batch(texts: Sequence[Sequence[int]], *, pad_id: int) -> TokenBatch:
    length = max(map(len, texts))
    ids = np.array([[*text, *[pad_id] * (length - len(text))] for text in texts], np.int64)
    lengths = np.array([[len(text)] for text in texts])
    return TokenBatch(ids, (np.arange(length) < lengths).astype(np.int64))


def _judged(
    precision: str, time_ms: float, values: Float32, *, reference: Float32, classifies: bool
) -> PrecisionResult:
    nearness = compare((values, values), (reference, reference))
    agreement = nearness.sure_agreement if classifies else 1.0
    near = agreement >= MIN_AGREEMENT and nearness.mean_cosine >= MIN_COSINE
    return PrecisionResult(
        precision,
        round(time_ms, 3),
        round(agreement, 4),
        round(nearness.mean_cosine, 5),
        passed=near or precision == "fp32",
    )
