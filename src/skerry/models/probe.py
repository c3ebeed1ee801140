"""Run a graph once, to see that it answers, and each image by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from skerry.errors import ModelInvalid

TOLERANCE = 1e-3
REEXPORT = "Export it again to ONNX with a dynamic batch dimension."


class Probe:
    """The outputs of one run over two images of noise.

    Raises ModelInvalid when ONNX Runtime cannot load or run the graph with a batch of two.
    """

    def __init__(self, model: onnx.ModelProto, input_name: str, size: int) -> None:
        self.input_name = input_name
        self.batch = np.random.default_rng(0).normal(size=(2, 3, size, size)).astype(np.float32)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # Two images do not repay the time that optimising takes.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self.session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            self.outputs = self._run(self.batch)
        except Exception as error:  # its exceptions share no base class of their own
            reason = str(error).strip().splitlines()[0]
            raise ModelInvalid(
                f"ONNX Runtime cannot run this model on two images: {reason}",
                remedy=REEXPORT,
            ) from error
        self._check_rows()

    def check_images_are_independent(self) -> None:
        """Raise ModelInvalid when an image's answer changes with what is beside it."""
        for index in range(len(self.batch)):
            alone = self._run(self.batch[index : index + 1])
            for name, together in self.outputs.items():
                scale = float(np.abs(together).max()) or 1.0
                if np.abs(alone[name][0] - together[index]).max() > TOLERANCE * scale:
                    raise ModelInvalid(
                        f"'{name}' differs for an image alone and in a batch: the graph mixes "
                        "images, or was exported in training mode.",
                        remedy="Call model.eval() before the export.",
                    )

    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        names = [output.name for output in self.session.get_outputs()]
        values = self.session.run(names, {self.input_name: batch})
        pairs = zip(names, values, strict=True)
        return {name: value for name, value in pairs if isinstance(value, np.ndarray)}

    def _check_rows(self) -> None:
        for name, value in self.outputs.items():
            if value.shape[:1] != (len(self.batch),):
                raise ModelInvalid(
                    f"'{name}' has shape {value.shape} for two images: the batch is fixed.",
                    remedy=REEXPORT,
                )
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ModelInvalid(f"'{name}' holds values that are not finite numbers.")
