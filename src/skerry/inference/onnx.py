"""Run a model with ONNX Runtime: on any CPU, and on CUDA or CoreML by name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import onnxruntime as ort

from skerry.errors import ConfigError, ModelUnavailable
from skerry.inference.base import EngineOutput, Float32
from skerry.inference.cpu import usable_cores
from skerry.inference.identity import engine_info, stored_variant
from skerry.inference.onnx_packed import packed_session, session_options
from skerry.models.manifest import ImageModel

PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "skerry"),
    "cuda": ("CUDAExecutionProvider", "skerry[cuda]"),
    "coreml": ("CoreMLExecutionProvider", "skerry"),
}
PRECISIONS = ("fp32", "int8")
ACCELERATOR_MAX_BATCH = 16


class OnnxEngine:
    """An ONNX Runtime session for one device and one precision.

    Raises ConfigError for a device or precision this machine lacks, ModelUnavailable for files
    that cannot be read.
    """

    def __init__(
        self,
        model: ImageModel,
        *,
        precision: str,
        device: str = "cpu",
        threads: int = 0,
        cache_folder: Path | None = None,
    ) -> None:
        _check(precision, device)
        self.info = engine_info(model, precision=precision, engine="onnx", device=device)
        # Each caller's thread computes its own image: that beats sharing one image by threads.
        self.streams = (threads or usable_cores()) if device == "cpu" else 2
        self.max_batch = 1 if device == "cpu" else ACCELERATOR_MAX_BATCH
        self._input = model.manifest.input
        self._outputs = [model.manifest.logits, model.manifest.embedding]
        variant = stored_variant(model, precision)
        path = model.path(variant)
        self._session: Any = None
        if device == "cpu" and cache_folder is not None:
            self._session = packed_session(path, cache_folder, digest=variant.sha256)
        if self._session is None:
            self._session = _session(path, device=device, name=self.info.model)

    def run(self, batch: Float32) -> EngineOutput:
        """Run float32 (n, 3, size, size); ModelUnavailable when the engine fails."""
        session = self._session
        if session is None:
            raise ModelUnavailable(f"Model '{self.info.model}' is closed.")
        started = time.perf_counter()
        try:
            logits, embedding = session.run(self._outputs, {self._input: batch})
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise ModelUnavailable(
                f"ONNX Runtime failed on '{self.info.model}': {error}"
            ) from error
        return EngineOutput(logits, embedding, time.perf_counter() - started)

    def close(self) -> None:
        """Free the model; calls under way keep it until they end."""
        self._session = None


def _check(precision: str, device: str) -> None:
    if precision not in PRECISIONS:
        raise ConfigError(
            f"ONNX Runtime does not run {precision}.",
            remedy='Set models.precision to "int8" or "fp32", or models.engine = "openvino".',
        )
    provider, requirement = PROVIDERS[device]
    if provider not in ort.get_available_providers():
        raise ConfigError(
            f"This ONNX Runtime has no {provider}.",
            remedy=f"Install it with: pip install '{requirement}', or set models.device = \"cpu\".",
        )


def _session(path: Path, *, device: str, name: str) -> Any:
    wanted = PROVIDERS[device][0]
    try:
        session = ort.InferenceSession(path, session_options(), providers=[wanted])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelUnavailable(
            f"ONNX Runtime cannot read {path.name} of model '{name}': {error}",
            remedy=f"Run 'skerry models pull {name}' again.",
        ) from error
    if wanted not in session.get_providers():
        # ONNX Runtime turns to the CPU without an error when a GPU cannot be opened.
        raise ConfigError(
            f"ONNX Runtime could not open the {device} device.",
            remedy='Check its driver, or set models.device = "cpu".',
        )
    return session
