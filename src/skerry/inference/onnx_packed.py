"""Keep a model as ONNX Runtime lays it out for this CPU, so that processes share its weights.

A session otherwise copies every weight into the order its kernels read, in memory of its own. Kept
in a file, the packed weights are mapped: two nodes on one model hold them once.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import onnxruntime as ort

from skerry.inference.cpu import this_cpu

log = logging.getLogger(__name__)

GRAPH, WEIGHTS = "packed.onnx", "packed.weights"
MAPPED_FROM_BYTES = 256
ERRORS_ONLY = 3


def session_options() -> Any:
    """Options of a session whose callers bring their own threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    return options


def packed_session(path: Path, cache_folder: Path, *, digest: str) -> Any | None:
    """A CPU session on the packed form of `path`, made first when it is not there.

    None, said in the log, when it cannot be made or read; the caller then reads `path` itself.
    The form holds for one CPU and version of ONNX Runtime, which its name states.
    """
    folder = cache_folder / f"onnx-{digest[:12]}-{this_cpu().signature}-{ort.__version__}"
    try:
        if not folder.is_dir():
            _pack(path, folder)
        options = session_options()
        # The graph is optimised already; doing it again would copy the weights.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return ort.InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        log.warning("no packed form of %s, its weights are not shared: %s", path.name, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _pack(path: Path, folder: Path) -> None:
    """Write the packed form beside its place and rename it there: it is whole or absent."""
    scratch = Path(mkdtemp(prefix=".packing-", dir=folder.parent))
    try:
        options = session_options()
        options.optimized_model_filepath = str(scratch / GRAPH)
        for key, value in (
            ("session.optimized_model_external_initializers_file_name", WEIGHTS),
            (
                "session.optimized_model_external_initializers_min_size_in_bytes",
                str(MAPPED_FROM_BYTES),
            ),
            ("session.save_external_prepacked_constant_initializers", "1"),
        ):
            options.add_session_config_entry(key, value)
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same bytes
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
