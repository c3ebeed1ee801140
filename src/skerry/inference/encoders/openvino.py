"""Run a text encoder with OpenVINO, its batches and lengths as they come."""

from __future__ import annotations

import time
from pathlib import Path
from queue import LifoQueue
from typing import Any

from skerry.errors import ConfigError, ModelUnavailable
from skerry.inference.base import Float32
from skerry.inference.cpu import this_cpu
from skerry.inference.encoder import EncoderOutput, TokenBatch
from skerry.inference.encoders.inputs import output_width, tensors
from skerry.inference.encoders.threads import plan
from skerry.inference.identity import TextModel, engine_info, stored_variant
from skerry.inference.openvino_import import ov

DEVICES = {"cpu": "CPU", "gpu": "GPU"}
WHOLE_ROW = 1 << 30
"""Activations of a whole row share a scale when they are rounded."""


class OpenVinoEncoder:
    """A text encoder compiled by OpenVINO for one device and one precision.

    `int8` rounds the weights of the fp32 file as it loads. Raises ConfigError for a device or
    precision this machine lacks, ModelUnavailable for files that cannot be read.
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
        _check(precision, device)
        self.info = engine_info(model, precision=precision, engine="openvino", device=device)
        self.width = output_width(model)
        self._threads, self.streams = plan(threads=threads, device=device)
        self._inputs = model.manifest.text.inputs
        compiled = self._compile(_graph(model, precision), cache_folder)
        self._output = compiled.output(model.manifest.output)
        self._requests: LifoQueue[Any] | None = LifoQueue()
        for _ in range(self.streams):
            self._requests.put(compiled.create_infer_request())

    def run(self, batch: TokenBatch) -> EncoderOutput:
        """Run one padded batch; ModelUnavailable when the engine fails."""
        requests = self._requests
        if requests is None:
            raise ModelUnavailable(f"Model '{self.info.model}' is closed.")
        request = requests.get()
        try:
            started = time.perf_counter()
            request.infer(tensors(batch, self._inputs), share_inputs=True)
            # Copied, as the next call writes into the same memory.
            values: Float32 = request.get_tensor(self._output).data.copy()
            return EncoderOutput(values, time.perf_counter() - started)
        except RuntimeError as error:
            raise ModelUnavailable(f"OpenVINO failed on '{self.info.model}': {error}") from error
        finally:
            requests.put(request)

    def close(self) -> None:
        """Free the model; calls under way keep it until they end."""
        self._requests = None

    def _compile(self, graph: Any, cache_folder: Path | None) -> Any:
        core, device = ov.Core(), DEVICES[self.info.device]
        if device not in {name.split(".")[0] for name in core.available_devices}:
            raise ConfigError(
                f"OpenVINO sees no {self.info.device} on this machine.",
                remedy=f'It sees: {", ".join(core.available_devices)}. Set models.device = "cpu".',
            )
        try:
            return core.compile_model(graph, device, self._options(cache_folder))
        except RuntimeError as error:
            raise ModelUnavailable(
                f"OpenVINO cannot compile '{self.info.model}': {error}"
            ) from error

    def _options(self, cache_folder: Path | None) -> dict[str, Any]:
        has_bf16 = self.info.precision != "fp32" and this_cpu().has_bf16
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if has_bf16 else "f32"}
        if self.info.device == "cpu":
            options |= {
                "NUM_STREAMS": self.streams,
                "INFERENCE_NUM_THREADS": self._threads,
                # Pinned, two processes sit on the same core and halve each other.
                "ENABLE_CPU_PINNING": False,
                # Each stream would keep what it made for 5,000 shapes, and grow for weeks.
                "CPU_RUNTIME_CACHE_CAPACITY": "0",
            }
        if self.info.precision == "int8":
            options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = WHOLE_ROW
        if cache_folder is not None and self.info.device != "cpu":
            # Of a CPU it would hold the weights once more, to load in 0.2 s instead of 0.4 s.
            options["CACHE_DIR"] = str(cache_folder)
        return options


def _check(precision: str, device: str) -> None:
    if device not in DEVICES:
        raise ConfigError(
            f"Text models do not run on the device '{device}': their inputs vary in length.",
            remedy='Set models.device = "cpu".',
        )
    if precision == "bf16" and device == "cpu" and not this_cpu().has_bf16:
        raise ConfigError(
            "This CPU has no bf16 arithmetic.",
            remedy='Set models.precision to "auto", "int8" or "fp32".',
        )


def _graph(model: TextModel, precision: str) -> Any:
    path = model.path(stored_variant(model, precision))
    try:
        graph = ov.Core().read_model(path)
    except RuntimeError as error:
        raise ModelUnavailable(
            f"OpenVINO cannot read {path.name} of model '{model.manifest.name}': {error}",
            remedy=f"Run 'skerry models pull {model.manifest.name}' again.",
        ) from error
    if precision == "int8" and model.manifest.variant("int8") is None:
        # Imported after OpenVINO itself was, with care.
        from skerry.inference.encoders.weights8 import with_8_bit_weights

        with_8_bit_weights(graph)
    return graph
