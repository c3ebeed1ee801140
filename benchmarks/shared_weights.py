"""How much memory does a second process on the same model cost?"""

from __future__ import annotations

import argparse
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from _processes import MODELS
from _report import Cell, Claim, Report, Table, publish

from skerry.config import ModelSettings
from skerry.models.store import ModelStore
from skerry.pipelines.install import prepare

COMBINATIONS = [
    (engine, precision) for engine in ("openvino", "onnx") for precision in ("fp32", "int8")
]
KIB_PER_MB = 1e6 / 1024
# What a node does with a model, without the node: load, run, and stay.
CHILD = """
import sys
from pathlib import Path
import numpy as np
from skerry.config import ModelSettings
from skerry.inference.loading import load_engine
from skerry.config import ModelSettings
from skerry.models.store import ModelStore
folder, name, engine, precision = sys.argv[1:]
model = ModelStore(Path(folder)).get(name)
loaded = load_engine(model, settings=ModelSettings(engine=engine, precision=precision, threads=2))
size = model.manifest.preprocess.size
for _ in range(4):
    loaded.run(np.zeros((1, 3, size, size), np.float32))
print("ready", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Use:
    """Memory of one process, in MB; `model_*` counts pages of files in the model's folder."""

    pss: float
    private: float
    model_rss: float
    model_pss: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite2")
    parser.add_argument("--models", type=Path, default=MODELS)
    options = parser.parse_args()
    store = ModelStore(options.models)
    prepare(store, store.pull(options.model), settings=ModelSettings())
    report = Report(
        name="shared_weights",
        title=f"Two processes on {options.model}",
        question="How much memory does a second process on the same model cost?",
    )
    rows: list[list[Cell]] = []
    for engine, precision in COMBINATIONS:
        alone, both = measured([str(options.models), options.model, engine, precision])
        extra = both[0].pss + both[1].pss - alone.pss
        rows.append([
            f"{engine} {precision}", alone.pss, both[0].pss, extra, both[0].private,
            both[0].model_rss, both[0].model_pss,
        ])  # fmt: skip
        shared = both[0].model_pss / both[0].model_rss if both[0].model_rss else 1.0
        report.claims.append(
            Claim(
                f"{engine} {precision}: a process's part of the model's mapped pages",
                shared,
                0.55,
                at_most=True,
            )
        )
    report.tables.append(
        Table(
            "Proportional set size, MB",
            ["", "alone", "each of two", "the second adds", "private", "model mapped",
             "its part of that"],
            rows,
        )
    )  # fmt: skip
    report.notes += [
        "Proportional: pages that two processes map count half for each.",
        "OpenVINO maps the file too, but computes with a packed copy of its own; mapped pages "
        "of a file can be dropped by the kernel and read again.",
        "ONNX Runtime computes with the packed weights where they are mapped.",
    ]
    publish(report)


def measured(arguments: list[str]) -> tuple[Use, list[Use]]:
    """Memory of one process alone, and of two at a time."""
    folder = str(Path(arguments[0]).resolve() / arguments[1])
    with ExitStack() as stack:
        first = stack.enter_context(child(arguments))  # it also leaves the compiled model behind
        first.communicate()
        first = stack.enter_context(child(arguments))
        alone = use(first.pid, folder)
        second = stack.enter_context(child(arguments))
        both = [use(process.pid, folder) for process in (first, second)]
        for process in (first, second):
            process.communicate()
        return alone, both


def child(arguments: list[str]) -> subprocess.Popen[str]:
    """A process that has the model loaded and run."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise SystemExit(f"The process for {arguments} failed.")
    return process


def use(pid: int, folder: str) -> Use:
    """Add up /proc/PID/smaps."""
    pss = private = model_rss = model_pss = 0
    of_model = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, *values = line.split()
        if not key.endswith(":"):
            of_model = folder in line
        elif key == "Pss:":
            pss += int(values[0])
            model_pss += int(values[0]) * of_model
        elif key == "Rss:":
            model_rss += int(values[0]) * of_model
        elif key in ("Private_Clean:", "Private_Dirty:"):
            private += int(values[0])
    return Use(*(kib / KIB_PER_MB for kib in (pss, private, model_rss, model_pss)))


if __name__ == "__main__":
    main()
