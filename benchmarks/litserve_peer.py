"""The peer: LitServe with the node's decoder, engine, graph and precision.

Run as `python benchmarks/litserve_peer.py '{"port": 8900, "model": ..., ...}'`.
"""

# Without `from __future__ import annotations`: LitServe reads the type of `request` as it stands.
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import openvino as ov
from _photos import WORK
from _processes import MODELS, Service, free_port, spawn
from fastapi import UploadFile

from skerry.inference.identity import stored_variant
from skerry.inference.openvino import PRECISION_HINTS
from skerry.media.images import decode
from skerry.models.store import ModelStore

FIELD = "request"
TOP = 5


@dataclass(frozen=True, slots=True)
class Tuning:
    """How LitServe is set up: processes that infer, images they join, threads of each engine."""

    model: str
    precision: str
    workers: int
    batch: int
    threads: int
    port: int = 0

    @property
    def text(self) -> str:
        """The settings in words."""
        return f"{self.workers} workers, batch {self.batch}, {self.threads} threads each"


def start_litserve(tuning: Tuning) -> Service:
    """A LitServe process that has been started and may not answer yet."""
    port = free_port()
    told = json.dumps(asdict(tuning) | {"port": port})
    log = WORK / "logs" / f"litserve-{tuning.workers}-{tuning.batch}-{tuning.threads}.log"
    service = spawn(f"LitServe ({tuning.text})", [str(Path(__file__).resolve()), told], log=log)
    service.url = f"http://127.0.0.1:{port}"
    return service


class Classifier(litserve.LitAPI):
    """Decode, infer, answer the five best classes; less than the node answers."""

    def __init__(self, tuning: Tuning, **options: Any) -> None:
        super().__init__(**options)
        self._tuning = tuning

    def setup(self, device: str) -> None:
        """Read the graph; each batch size is compiled when it is first met."""
        model = ModelStore(MODELS).get(self._tuning.model)
        self._preprocess = model.manifest.preprocess
        self._logits = model.manifest.logits
        self._core = ov.Core()
        self._graph = self._core.read_model(
            model.path(stored_variant(model, self._tuning.precision))
        )
        self._requests: dict[int, Any] = {}
        for size in range(1, self._tuning.batch + 1):
            self._request(size)

    def decode_request(self, request: UploadFile) -> np.ndarray:
        """The upload as the model's input."""
        return decode(request.file.read(), self._preprocess)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Join inputs."""
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Run one input, or several that were joined."""
        batch = x if x.ndim == 4 else x[None]
        request = self._request(len(batch))
        request.infer({0: batch}, share_inputs=True)
        logits = request.get_tensor(self._logits).data.copy()
        return logits if x.ndim == 4 else logits[0]

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        """One output per input."""
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict[str, list[Any]]:
        """The best classes with their probabilities."""
        exponents = np.exp(output - output.max())
        best = np.argsort(-exponents)[:TOP]
        return {
            "labels": best.tolist(),
            "probabilities": (exponents / exponents.sum())[best].tolist(),
        }

    def _request(self, size: int) -> Any:
        if size not in self._requests:
            graph = self._graph.clone()
            side = self._preprocess.size
            graph.reshape([size, 3, side, side])
            options = {
                "INFERENCE_PRECISION_HINT": PRECISION_HINTS[self._tuning.precision],
                "INFERENCE_NUM_THREADS": self._tuning.threads,
                "NUM_STREAMS": 1,
                "ENABLE_CPU_PINNING": False,
            }
            compiled = self._core.compile_model(graph, "CPU", options)
            self._requests[size] = compiled.create_infer_request()
        return self._requests[size]


def main() -> None:
    tuning = Tuning(**json.loads(sys.argv[1]))
    joined = {"max_batch_size": tuning.batch, "batch_timeout": 0.002} if tuning.batch > 1 else {}
    server = litserve.LitServer(
        Classifier(tuning, **joined), accelerator="cpu", workers_per_device=tuning.workers
    )
    server.run(
        host="127.0.0.1",
        port=tuning.port,
        num_api_servers=1,
        log_level="error",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()
