"""Run a text graph once, to see that it answers, and the same for a text beside longer ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import IDS, MASK, TextGraph

TOLERANCE = 1e-3
LENGTHS = (3, 8)
"""Tokens of the two texts."""


def check_text_graph(path: Path, graph: TextGraph, *, pad_id: int, vocabulary: int) -> None:
    """Raise ModelInvalid when the graph written at `path` does not answer as `graph` says.

    Two texts of unequal length are run together and alone: the vectors must agree.
    """
    ids, mask = _texts(pad_id=pad_id, vocabulary=vocabulary)
    try:
        onnx.checker.check_model(path, full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        together = _run(session, graph, ids, mask)
        alone = [_run(session, graph, ids[i : i + 1, :n], mask[i : i + 1, :n])[0]
                 for i, n in enumerate(LENGTHS)]  # fmt: skip
    except Exception as error:  # the libraries' exceptions share no base class
        reason = str(error).strip().splitlines()[0]
        raise ModelInvalid(f"ONNX Runtime cannot run this model on two texts: {reason}") from error
    if together.shape != (len(LENGTHS), graph.width) or together.dtype != np.float32:
        raise ModelInvalid(
            f"'{graph.output}' is {together.dtype} {together.shape} for two texts, not float32 "
            f"{(len(LENGTHS), graph.width)}."
        )
    if not np.isfinite(together).all():
        raise ModelInvalid(f"'{graph.output}' holds values that are not finite numbers.")
    scale = float(np.abs(together).max()) or 1.0
    if np.abs(together - np.stack(alone)).max() > TOLERANCE * scale:
        raise ModelInvalid(
            f"'{graph.output}' differs for a text alone and beside a longer one: the graph does "
            "not heed the attention mask."
        )


def _texts(*, pad_id: int, vocabulary: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    candidates = np.setdiff1d(np.arange(min(vocabulary, 100)), [pad_id])
    length = max(LENGTHS)
    ids = np.random.default_rng(0).choice(candidates, (len(LENGTHS), length)).astype(np.int64)
    mask = (np.arange(length) < np.asarray(LENGTHS)[:, None]).astype(np.int64)
    return np.where(mask == 1, ids, pad_id), mask


def _run(
    session: Any, graph: TextGraph, ids: NDArray[np.int64], mask: NDArray[np.int64]
) -> NDArray[Any]:
    given = {IDS: ids, MASK: mask}
    feed = {name: given.get(name, np.zeros_like(ids)) for name in graph.inputs}
    (values,) = session.run([graph.output], feed)
    return np.asarray(values)
