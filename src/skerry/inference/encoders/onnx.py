"""Run a text encoder with ONNX Runtime: on any CPU, and on CUDA by name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import onnxruntime as ort

from skerry.errors import ConfigError, ModelUnavailable
from skerry.inference.encoder import EncoderOutput, TokenBatch
from skerry.inference.encoders.inputs import output_width, tensors
from skerry.inference.encoders.threads import plan
from skerry.inference.identity import TextModel, engine_info, stored_variant

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
ERRORS_ONLY = 3


class OnnxEncoder:
    """An ONNX Runtime session of a text encoder, in fp32 or a stored int8 variant.

    Raises ConfigError for a device or precision this machine lacks, ModelUnavailable for files
    that cannot be read.
    """

    def __init__(
        self,
        model: TextModel,
        *,
        precision: str,
        device: str = "cpu",
        threads: int = 0,
        cache_folder: Path | None = None,
    ) -> None:
        _check(model, precision, device)
        self.info = engine_info(model, precision=precision, engine="onnx", device=device)
        self.width = output_width(model)
        threads, self.streams = plan(threads=threads, device=device)
        self._inputs = model.manifest.text.inputs
        self._output = model.manifest.output
        path = model.path(stored_variant(model, precision))
        self._session: Any = _session(path, device=device, name=self.info.model, threads=threads)

    def run(self, batch: TokenBatch) -> EncoderOutput:
        """Run one padded batch; ModelUnavailable when the engine fails."""
        session = self._session
        if session is None:
            raise ModelUnavailable(f"Model '{self.info.model}' is closed.")
        started = time.perf_counter()
        try:
            (values,) = session.run([self._output], tensors(batch, self._inputs))
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise ModelUnavailable(
                f"ONNX Runtime failed on '{self.info.model}': {error}"
            ) from error
        return EncoderOutput(values, time.perf_counter() - started)

    def close(self) -> None:
        """Free the model; calls under way keep it until they end."""
        self._session = None


def _check(model: TextModel, precision: str, device: str) -> None:
    if device not in PROVIDERS:
        raise ConfigError(
            f"Text models do not run on the device '{device}' with ONNX Runtime.",
            remedy='Set models.device = "cpu".',
        )
    if PROVIDERS[device] not in ort.get_available_providers():
        raise ConfigError(
            f"This ONNX Runtime has no {PROVIDERS[device]}.",
            remedy="Install 'skerry[cuda]', or set models.device = \"cpu\".",
        )
    if precision == "bf16" or (precision == "int8" and model.manifest.variant("int8") is None):
        raise ConfigError(
            f"ONNX Runtime does not run '{model.manifest.name}' in {precision}.",
            remedy='Set models.precision to "auto" or "fp32", or models.engine = "openvino".',
        )


def _session(path: Path, *, device: str, name: str, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    # A thread that spins while it waits takes its core from images and from other models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(path, options, providers=[PROVIDERS[device]])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelUnavailable(
            f"ONNX Runtime cannot read {path.name} of model '{name}': {error}",
            remedy=f"Run 'skerry models pull {name}' again.",
        ) from error
    if PROVIDERS[device] not in session.get_providers():
        # ONNX Runtime turns to the CPU without an error when a GPU cannot be opened.
        raise ConfigError(
            f"ONNX Runtime could not open the {device} device.",
            remedy='Check its driver, or set models.device = "cpu".',
        )
    return session
