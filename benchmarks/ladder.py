"""The guide's ladder with ResNet50: FP32, then INT8, then the cache, then joined calls."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from _load import Sender
from _photos import TYPICAL, describe, photos
from _processes import MODELS, Memory, Service, pull_models, start_node, stopped_after
from _report import Bars, Cell, Claim, Report, Table, publish
from _resnet50 import NAME, install_resnet50
from _rounds import Contender, Series, by_turns, posting

from skerry.inference.cpu import ISA_LIMIT, this_cpu, usable_cores
from skerry.inference.identity import stored_variant
from skerry.inference.openvino import PRECISION_HINTS, WEIGHTED_LAYERS
from skerry.models.store import ModelStore

CLIENTS = 10
MISS_EVERY = 10
LIMITED_ISA = "AVX2_VNNI"
ALL_CORES = 0


@dataclass(frozen=True, slots=True)
class Rung:
    """One setting of the node, and what the guide promises for it."""

    name: str
    precision: str
    cache: str
    threads: int
    guide_ms: float = 0.0
    guide_per_s: float = 0.0

    @property
    def unique_every(self) -> int:
        """Nine hits in ten where there is a cache."""
        return MISS_EVERY if self.cache == "memory" else 0


GUIDE = (
    Rung("FP32", "fp32", "off", 1, 120, 83),
    Rung("+ INT8", "int8", "off", 1, 48, 208),
    Rung("+ cache, 90% hits", "int8", "memory", 1, 12, 830),
    Rung("+ joined calls", "int8", "memory", ALL_CORES, 8, 1250),
)
# What the node does when nobody asks for less.
JOINED = (
    Rung("FP32, joined calls, no cache", "fp32", "off", ALL_CORES),
    Rung("INT8, joined calls, no cache", "int8", "off", ALL_CORES),
)


@dataclass(frozen=True, slots=True)
class Climb:
    """What one pass over the rungs gave: with one client, with ten, and the memory held."""

    rungs: Sequence[Rung]
    alone: dict[str, Series]
    crowd: dict[str, Series]
    memory: dict[str, Memory]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of one turn")
    parser.add_argument("--kernels", action="store_true", help="only say which kernels INT8 runs")
    arguments = parser.parse_args()
    if arguments.kernels:
        print(json.dumps(kernels("int8")))
        return
    bodies = photos(TYPICAL, 40)
    pull_models()
    likeness = install_resnet50(bodies[0].parent)
    engine = joining(seconds=2.0)
    full = climb((*GUIDE, *JOINED), bodies, arguments, isa="")
    limited = climb(GUIDE, bodies, arguments, isa=LIMITED_ISA)
    setting = (
        f"{describe(bodies)}. ResNet50 with random weights ({likeness} between INT8 and FP32, "
        f"which says nothing of trained weights); {arguments.rounds} rounds of "
        f"{arguments.seconds} s a turn, medians."
    )
    publish(report(full, limited, engine, setting))


def climb(
    rungs: Sequence[Rung], bodies: Sequence[Path], arguments: argparse.Namespace, *, isa: str
) -> Climb:
    """A node per rung, by turns; each turn first with one client, then with ten."""
    with tempfile.TemporaryDirectory(prefix="skerry-ladder-") as folder:
        nodes: list[Service] = []
        with stopped_after(nodes):
            for number, rung in enumerate(rungs):
                nodes.append(start_rung(rung, Path(folder) / str(number), isa=isa))
            alone = by_turns(_turns(rungs, nodes, bodies, 1, arguments), rounds=arguments.rounds)
            crowd = by_turns(
                _turns(rungs, nodes, bodies, CLIENTS, arguments), rounds=arguments.rounds
            )
            held = [node.memory() for node in nodes]
    return Climb(rungs, alone, crowd, dict(zip([r.name for r in rungs], held, strict=True)))


def start_rung(rung: Rung, data: Path, *, isa: str) -> Service:
    """A node with the rung's settings."""
    settings: dict[str, str | int] = {
        "models_image": NAME,
        "models_precision": rung.precision,
        "models_threads": rung.threads,
        "cache_type": rung.cache,
    }
    return start_node(data, name=rung.name, isa=isa, **settings)


def _turns(
    rungs: Sequence[Rung],
    nodes: Sequence[Service],
    bodies: Sequence[Path],
    clients: int,
    arguments: argparse.Namespace,
) -> list[Contender]:
    contenders = []
    for rung, node in zip(rungs, nodes, strict=True):
        url = f"{node.url}/api/recognize"
        sender = Sender(url, bodies, unique_every=rung.unique_every)
        turn = posting(node, sender, clients=clients, seconds=arguments.seconds)
        contenders.append(Contender(rung.name, node, turn))
    return contenders


def joining(*, seconds: float) -> Table:
    """Ways to give the engine many images: a stream per core, or batches over all cores."""
    cores = usable_cores()
    rows: list[list[Cell]] = []
    for precision in ("fp32", "int8"):
        streams = engine_rate(precision, batch=1, streams=cores, seconds=seconds)
        batches = engine_rate(precision, batch=8, streams=1, seconds=seconds)
        rows.append([precision, streams, batches, batches / streams])
    columns = ["", f"{cores} streams, images/s", "batches of 8, images/s", "batches over streams"]
    return Table("The engine alone: how calls are best joined here", columns, rows)


def kernels_under(isa: str) -> str:
    """The kernels that a process with this instruction set runs, in words."""
    command = [sys.executable, str(Path(__file__).resolve()), "--kernels"]
    environment = os.environ | ({ISA_LIMIT: isa} if isa else {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return ", ".join(f"{count} {kernel}" for kernel, count in counts.items())


def kernels(precision: str) -> dict[str, int]:
    """How many layers with weights run on which kernel of the engine, the most used first."""
    operations = compiled(precision, batch=1, streams=1).get_runtime_model().get_ops()
    infos = [operation.get_rt_info() for operation in operations]
    weighted = [info for info in infos if info["layerType"].astype(str) in WEIGHTED_LAYERS]
    return dict(Counter(info["primitiveType"].astype(str) for info in weighted).most_common())


def compiled(precision: str, *, batch: int, streams: int) -> Any:
    """ResNet50 compiled by OpenVINO alone, over all cores."""
    model = ModelStore(MODELS).get(NAME)
    side = model.manifest.preprocess.size
    core = ov.Core()
    graph = core.read_model(model.path(stored_variant(model, precision)))
    graph.reshape([batch, 3, side, side])
    options = {
        "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
        "INFERENCE_NUM_THREADS": usable_cores(),
        "NUM_STREAMS": streams,
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(graph, "CPU", options)


def engine_rate(precision: str, *, batch: int, streams: int, seconds: float) -> float:
    """Images a second of OpenVINO alone on all cores."""
    network = compiled(precision, batch=batch, streams=streams)
    queue: Any = ov.AsyncInferQueue(network, streams)
    images = np.random.default_rng(1).random(network.input(0).shape, np.float32)
    for _ in range(2 * streams):
        queue.start_async({0: images})
    queue.wait_all()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        queue.start_async({0: images})
        calls += 1
    queue.wait_all()
    return calls * batch / (time.perf_counter() - began)


def report(full: Climb, limited: Climb, engine: Table, setting: str) -> Report:
    """The ladder beside the guide's, steps as ratios first."""
    first, last = GUIDE[0].name, GUIDE[-1].name
    faster = full.alone[first].of("mean_ms") / full.alone[last].of("mean_ms")
    more = full.crowd[last].share_of(full.crowd[first])
    return Report(
        name="ladder",
        title="The guide's ladder, with ResNet50",
        question="What do INT8, the cache and joined calls each bring?",
        claims=[
            Claim("Latency, first rung over last (the guide's: 15 x)", faster, 120 / 8, "x"),
            Claim("Throughput, last rung over first (the guide's: 15 x)", more, 1250 / 83, "x"),
        ],
        tables=[
            _steps(full),
            _figures(full, "In figures"),
            _figures(limited, f"Held to ONEDNN_MAX_CPU_ISA={LIMITED_ISA}"),
            engine,
        ],
        plots=[
            Bars(
                "Requests a second, 10 clients, ResNet50",
                "requests/s",
                [rung.name for rung in full.rungs],
                [full.crowd[rung.name].per_s for rung in full.rungs],
            )
        ],
        notes=[
            setting,
            "Latency is the mean with one client, decoding included; throughput is with "
            f"{CLIENTS} clients. The guide names no hardware, and its throughput is 10 divided by "
            "its latency.",
            "On a CPU the node joins callers by running a stream per core, because streams "
            "are as fast as batches there and do not wait for each other (last table). The first "
            "three rungs are held to one stream (models.threads = 1), the fourth has them all.",
            *isa_notes(),
        ],
    )


def isa_notes() -> list[str]:
    """What the limit on the instruction set changed, by the engine's own account."""
    free, held = kernels_under(""), kernels_under(LIMITED_ISA)
    notes = [f"INT8's layers ran on these kernels without the limit: {free}; and with it: {held}."]
    if not any("vnni" in flag or "amx" in flag for flag in this_cpu().flags):
        notes.append(
            "This CPU has no VNNI at all, so the limit holds nothing back: both passes show a box "
            "below a shop's mini-PC, and INT8 gains less here than it would there."
        )
    return notes


def _steps(climbed: Climb) -> Table:
    rows: list[list[Cell]] = []
    for below, rung in pairwise(GUIDE):
        alone = climbed.alone[below.name].of("mean_ms") / climbed.alone[rung.name].of("mean_ms")
        crowd = climbed.crowd[rung.name].share_of(climbed.crowd[below.name])
        guide = [below.guide_ms / rung.guide_ms, rung.guide_per_s / below.guide_per_s]
        rows.append([rung.name, alone, guide[0], crowd, guide[1]])
    columns = ["step", "latency, x", "guide's, x", "throughput, x", "guide's, x "]
    return Table("What each step brings", columns, rows)


def _figures(climbed: Climb, title: str) -> Table:
    rows: list[list[Cell]] = []
    for rung in climbed.rungs:
        alone, crowd = climbed.alone[rung.name], climbed.crowd[rung.name]
        held = climbed.memory[rung.name]
        latency: list[Cell] = [alone.of("mean_ms"), alone.of("p50_ms"), rung.guide_ms or ""]
        rate: list[Cell] = [crowd.per_s, rung.guide_per_s or ""]
        rows.append([rung.name, *latency, *rate, held.rss_mb, held.pss_mb])
    columns = [
        "", "mean, ms", "P50, ms", "guide's, ms", "requests/s", "guide's, 1/s",
        "RSS, MB", "PSS, MB",
    ]  # fmt: skip
    return Table(title, columns, rows)


if __name__ == "__main__":
    main()
