"""Run a model with OpenVINO: on a CPU in streams of one thread, on a GPU or NPU by name."""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np

from skerry.errors import ConfigError, ModelUnavailable
from skerry.inference.base import EngineOutput, Float32
from skerry.inference.cpu import this_cpu, usable_cores
from skerry.inference.identity import engine_info, stored_variant
from skerry.inference.openvino_import import ov
from skerry.models.manifest import ImageModel

log = logging.getLogger(__name__)

DEVICES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
# Left to itself OpenVINO picks bf16 where the CPU has it, and turns an f16 hint into bf16.
PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
RUNTIME_PRECISIONS = {"fp32": {"f32"}, "bf16": {"bf16"}, "int8": {"i8", "u8"}}
WEIGHTED_LAYERS = {"Convolution", "FullyConnected", "MatMul"}
MAX_BATCH = {"cpu": 4, "gpu": 8}
"""Images that a call gains from joining. On a CPU four in one thread read the weights once: 10%
more a second than one by one, and nothing lost where it brings nothing. An NPU wants one shape."""


class OpenVinoEngine:
    """A model compiled by OpenVINO for one device and one precision.

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
        self.info = engine_info(model, precision=precision, engine="openvino", device=device)
        self.streams = (threads or usable_cores()) if device == "cpu" else 2
        self.max_batch = MAX_BATCH.get(device, 1)
        _check_precision(precision, device)
        core = ov.Core()
        compiled = _compile(core, model, self, cache_folder)
        if device == "cpu":
            _check_what_runs(compiled, precision, model.manifest.name)
        outputs = (model.manifest.logits, model.manifest.embedding)
        self._outputs = [compiled.output(name) for name in outputs]
        self._requests: LifoQueue[Any] | None = LifoQueue()
        for _ in range(self.streams):
            self._requests.put(compiled.create_infer_request())

    def run(self, batch: Float32) -> EngineOutput:
        """Run float32 (n, 3, size, size); ModelUnavailable when the engine fails."""
        requests = self._requests
        if requests is None:
            raise ModelUnavailable(f"Model '{self.info.model}' is closed.")
        request = requests.get()
        try:
            started = time.perf_counter()
            step = self.max_batch
            parts = [
                self._infer(request, batch[at : at + step]) for at in range(0, len(batch), step)
            ]
            logits, embedding = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            return EngineOutput(logits, embedding, time.perf_counter() - started)
        except RuntimeError as error:
            raise ModelUnavailable(f"OpenVINO failed on '{self.info.model}': {error}") from error
        finally:
            requests.put(request)

    def close(self) -> None:
        """Free the model; calls under way keep it until they end."""
        self._requests = None

    def _infer(self, request: Any, batch: Float32) -> tuple[Float32, Float32]:
        request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
        # Copied, as the next call writes into the same memory.
        logits, embedding = (request.get_tensor(out).data.copy() for out in self._outputs)
        return logits, embedding


def _compile(
    core: Any, model: ImageModel, engine: OpenVinoEngine, cache_folder: Path | None
) -> Any:
    info = engine.info
    path = model.path(stored_variant(model, info.precision))
    size = model.manifest.preprocess.size
    batch = 1 if engine.max_batch == 1 else ov.Dimension(1, engine.max_batch)
    try:
        graph = core.read_model(path)
        graph.reshape(ov.PartialShape([batch, 3, size, size]))
    except RuntimeError as error:
        raise ModelUnavailable(
            f"OpenVINO cannot read {path.name} of model '{info.model}': {error}",
            remedy=f"Run 'skerry models pull {info.model}' again.",
        ) from error
    if DEVICES[info.device] not in {name.split(".")[0] for name in core.available_devices}:
        raise ConfigError(
            f"OpenVINO sees no {info.device} on this machine.",
            remedy=f"It sees: {', '.join(core.available_devices)}. Install the device's driver, "
            'or set models.device = "cpu".',
        )
    try:
        return core.compile_model(graph, DEVICES[info.device], _options(engine, cache_folder))
    except RuntimeError as error:
        raise ModelUnavailable(f"OpenVINO cannot compile '{info.model}': {error}") from error


def _options(engine: OpenVinoEngine, cache_folder: Path | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": PRECISION_HINTS[engine.info.precision],
    }
    if engine.info.device == "cpu":
        options |= {
            "NUM_STREAMS": engine.streams,
            "INFERENCE_NUM_THREADS": engine.streams,
            # Pinned, two processes sit on the same core and halve each other.
            "ENABLE_CPU_PINNING": False,
        }
    if cache_folder is not None:
        options["CACHE_DIR"] = str(cache_folder)
    return options


def _check_precision(precision: str, device: str) -> None:
    if precision == "bf16" and device == "cpu" and not this_cpu().has_bf16:
        raise ConfigError(
            "This CPU has no bf16 arithmetic.",
            remedy='Set models.precision to "auto", "int8" or "fp32".',
        )


def _check_what_runs(compiled: Any, precision: str, name: str) -> None:
    """Say, or refuse, when the layers with weights run in another precision than asked."""
    kinds = Counter(runtime_precisions(compiled))
    wanted = RUNTIME_PRECISIONS[precision]
    as_asked = sum(count for kind, count in kinds.items() if kind in wanted)
    if as_asked == 0:
        raise ConfigError(
            f"Asked for {precision}, OpenVINO runs '{name}' as {', '.join(kinds)} on this CPU.",
            remedy='Set models.precision = "auto".',
        )
    if as_asked < kinds.total():
        log.info(
            "%d of %d layers of '%s' run in %s", as_asked, kinds.total(), name, precision,
            extra={"fields": dict(kinds)},
        )  # fmt: skip


def runtime_precisions(compiled: Any) -> list[str]:
    """The precision each layer with weights really runs in, such as `f32` or `u8`."""
    infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    layers = [info for info in infos if info["layerType"].astype(str) in WEIGHTED_LAYERS]
    return [info["runtimePrecision"].astype(str) for info in layers]
