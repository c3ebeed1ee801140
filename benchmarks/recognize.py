"""How much of the bare engine's rate does `POST /api/recognize` give, and LitServe beside it?"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _floor import Recipe, looping, start_floor
from _load import Sender
from _photos import TYPICAL, VARIED, describe, photos
from _processes import Service, pull_models, start_node, stopped_after, until_ready
from _report import Bars, Cell, Claim, Report, Table, publish
from _rounds import Contender, Series, by_turns, posting
from _stages import stage_times
from _store import Uploads, images
from litserve_peer import FIELD, Tuning, start_litserve

from skerry.inference.cpu import usable_cores

CLIENTS = 16
FLOOR, NODE, LEAN, MULTIPART, PEER = (
    "floor: bare loop",
    "Skerry",
    "Skerry, features=false",
    "Skerry, multipart upload",
    "LitServe",
)
TARGET = 0.90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of one turn")
    parser.add_argument("--stored", type=int, default=500, help="images on the node")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    pull_models()
    bodies = photos(TYPICAL, 40)
    with tempfile.TemporaryDirectory(prefix="skerry-recognize-") as folder:
        settings = {"cache_type": "off", "models_precision": arguments.precision}
        node = start_node(Path(folder) / "data", **settings)
        with stopped_after([node]):
            Uploads(node.url, images(photos(VARIED, arguments.stored))).run(clients=8)
            figures = compare(node, bodies, arguments)
    # With every process ended, what it used is told from what others used.
    publish(figures)


def compare(node: Service, bodies: Sequence[Path], arguments: argparse.Namespace) -> Report:
    """Everything by turns, then the report."""
    model = node.get("/api/status")["models"][0]
    cores = usable_cores()
    recipe = Recipe(
        model["name"], model["engine"], model["precision"], streams=cores, threads=cores
    )
    floor = start_floor(recipe, bodies)
    peers = [start_litserve(tuning) for tuning in tunings(recipe, cores)]
    with stopped_after([floor, *peers]):
        for peer in peers:
            until_ready(peer, "/health")
        best, tried = best_peer(peers, bodies)
        for peer in peers:
            if peer is not best:
                peer.pause()
        contenders = [
            Contender(FLOOR, floor, looping(floor, seconds=arguments.seconds)),
            *_node_contenders(node, bodies, arguments.seconds),
            _peer_contender(best, bodies, arguments.seconds),
        ]
        before = stage_times(node)
        series = by_turns(contenders, rounds=arguments.rounds)
        stages = stage_times(node).mean_ms(since=before)
    setting = (
        f"{describe(bodies)}. {recipe.model} in {recipe.precision} on {recipe.engine}, {cores} "
        f"streams; {arguments.stored} images stored; {CLIENTS} clients; {arguments.rounds} rounds "
        f"of {arguments.seconds} s a turn, medians."
    )
    return report(series, stages, tried, best=best.name, setting=setting)


def tunings(recipe: Recipe, cores: int) -> list[Tuning]:
    """What is tried for LitServe: a worker per core or more, and one that joins a batch."""
    shapes = [(cores, 1, 1), (cores + 1, 1, 1), (1, 4, cores), (1, 8, cores), (cores, 4, 1)]
    return [
        Tuning(recipe.model, recipe.precision, workers=workers, batch=batch, threads=threads)
        for workers, batch, threads in shapes
    ]


def best_peer(peers: Sequence[Service], bodies: Sequence[Path]) -> tuple[Service, dict[str, float]]:
    """The fastest of the peer's settings, by two short turns each."""
    tried = by_turns([_peer_contender(peer, bodies, 3, name=peer.name) for peer in peers], rounds=2)
    rates = {name: series.per_s for name, series in tried.items()}
    return max(peers, key=lambda peer: rates[peer.name]), rates


def _node_contenders(node: Service, bodies: Sequence[Path], seconds: int) -> list[Contender]:
    url = f"{node.url}/api/recognize"
    senders = {
        NODE: Sender(url, bodies),
        LEAN: Sender(f"{url}?features=false", bodies),
        MULTIPART: Sender(url, bodies, multipart_field="file"),
    }
    return [
        Contender(name, node, posting(node, sender, clients=CLIENTS, seconds=seconds))
        for name, sender in senders.items()
    ]


def _peer_contender(
    peer: Service, bodies: Sequence[Path], seconds: int, *, name: str = PEER
) -> Contender:
    sender = Sender(f"{peer.url}/predict", bodies, multipart_field=FIELD)
    return Contender(name, peer, posting(peer, sender, clients=CLIENTS, seconds=seconds))


def report(
    series: dict[str, Series],
    stages: dict[str, float],
    tried: dict[str, float],
    *,
    best: str,
    setting: str,
) -> Report:
    """The figures, ratios first."""
    floor, node, peer = series[FLOOR], series[NODE], series[PEER]
    shares = {name: one.share_of(floor) for name, one in series.items()}
    return Report(
        name="recognize",
        title="Recognising an image, nothing cached",
        question="How much of the bare engine's rate is left behind HTTP, search and rows?",
        claims=[
            Claim("Skerry's share of the floor", 100 * shares[NODE], 100 * TARGET, "%"),
            Claim("Skerry's rate over LitServe's", node.share_of(peer), 1.0, "x"),
        ],
        tables=[_rates(series, shares), _costs(series), _stages(stages), _tried(tried)],
        plots=[
            Bars(
                "Images a second, cache off, 16 clients",
                "images/s",
                list(series),
                [one.per_s for one in series.values()],
                reference=floor.per_s,
            )
        ],
        notes=[
            setting,
            "The floor decodes, resizes and infers in one thread per core and does nothing else. "
            "Skerry also reads HTTP, hashes, searches, reads rows and writes the features as JSON; "
            "the load generator runs on the same cores.",
            f"LitServe is tuned: {best} was the fastest tried. It decodes with the same function, "
            "runs the same graph on the same engine, and answers five labels and nothing else.",
        ],
    )


def _rates(series: dict[str, Series], shares: dict[str, float]) -> Table:
    rows: list[list[Cell]] = [
        [name, 100 * shares[name], one.per_s, one.of("p50_ms"), one.of("p99_ms")]
        for name, one in series.items()
    ]
    return Table("Rates", ["", "share of floor, %", "images/s", "P50, ms", "P99, ms"], rows)


def _costs(series: dict[str, Series]) -> Table:
    """Processor time is steadier than the clock when something else runs beside."""
    floor = series[FLOOR].of("server_cpu_ms")
    rows: list[list[Cell]] = []
    for name, one in series.items():
        server, client = one.of("server_cpu_ms"), one.of("client_cpu_ms")
        whole = server + client
        rows.append([name, server, client, whole - floor, 100 * floor / whole])
    columns = ["", "its CPU, ms", "client's CPU, ms", "above the floor, ms", "floor's share, %"]
    return Table("Processor time of one image", columns, rows)


def _stages(stages: dict[str, float]) -> Table:
    rows: list[list[Cell]] = [[name, spent] for name, spent in stages.items()]
    return Table("Where a request waits, 16 clients at once", ["stage", "mean, ms"], rows)


def _tried(tried: dict[str, float]) -> Table:
    return Table(
        "LitServe's settings", ["", "images/s"], [[name, rate] for name, rate in tried.items()]
    )


if __name__ == "__main__":
    main()
