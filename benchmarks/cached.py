"""How close does a cached recognition come to a bare endpoint that does the same and no more?"""

from __future__ import annotations

import argparse
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from _load import Sender
from _photos import TYPICAL, VARIED, describe, photos
from _processes import Service, pull_models, start_node, stopped_after, until_ready
from _report import Bars, Cell, Claim, Report, Table, publish
from _rounds import Contender, Series, by_turns, posting
from _store import Uploads, images
from bare_endpoint import start_bare

CLIENTS = 16
BARE, BARE_LEAN = "bare endpoint", "bare endpoint, features=false"
NODE, NODE_LEAN, NODE_MIXED = "Skerry", "Skerry, features=false", "Skerry, 90% hits"
LEAN = "?features=false"
TARGET = 0.80
MISS_EVERY = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of one turn")
    parser.add_argument("--stored", type=int, default=500, help="images on the node")
    arguments = parser.parse_args()
    pull_models()
    bodies = photos(TYPICAL, 40)
    with tempfile.TemporaryDirectory(prefix="skerry-cached-") as name:
        folder = Path(name)
        node = start_node(folder / "data")
        with stopped_after([node]):
            Uploads(node.url, images(photos(VARIED, arguments.stored))).run(clients=8)
            figures = compare(node, bodies, arguments, folder=folder)
    publish(figures)


def compare(
    node: Service, bodies: Sequence[Path], arguments: argparse.Namespace, *, folder: Path
) -> Report:
    """Node and bare endpoint by turns, then the report."""
    model = node.get("/api/status")["models"][0]
    vectors = feature_vectors(node, photos(VARIED, arguments.stored))
    bare = start_bare(folder / "bare", vectors)
    seconds = arguments.seconds
    api = f"{node.url}/api/recognize"
    with stopped_after([bare]):
        until_ready(bare, "/health")
        answers = {
            NODE: len(answer_to(api, bodies[0])),
            BARE: len(answer_to(bare.url, bodies[0])),
        }
        turns = [
            (BARE, bare, Sender(f"{bare.url}/", bodies)),
            (NODE, node, Sender(api, bodies)),
            (BARE_LEAN, bare, Sender(f"{bare.url}/{LEAN}", bodies)),
            (NODE_LEAN, node, Sender(f"{api}{LEAN}", bodies)),
            (NODE_MIXED, node, Sender(api, bodies, unique_every=MISS_EVERY)),
        ]
        contenders = [
            Contender(name, service, posting(service, sender, clients=CLIENTS, seconds=seconds))
            for name, service, sender in turns
        ]
        series = by_turns(contenders, rounds=arguments.rounds)
    setting = (
        f"{describe(bodies)}. {model['name']} in {model['precision']}, {arguments.stored} images "
        f"stored; {CLIENTS} clients; {arguments.rounds} rounds of {seconds} s a turn, medians."
    )
    return report(series, answers, setting)


def feature_vectors(node: Service, paths: Sequence[Path]) -> np.ndarray:
    """The node's own vectors of these images, float32 (n, d)."""
    url = f"{node.url}/api/recognize?limit=0"
    answers = [msgspec.json.decode(answer_to(url, path)) for path in paths]
    return np.array([answer["feature_vector"] for answer in answers], np.float32)


def answer_to(url: str, body: Path) -> bytes:
    """The answer to one image."""
    with urllib.request.urlopen(url, data=body.read_bytes(), timeout=30) as answer:
        content: bytes = answer.read()
        return content


def report(series: dict[str, Series], answers: dict[str, int], setting: str) -> Report:
    """The figures, ratios first."""
    share = series[NODE].share_of(series[BARE])
    lean = series[NODE_LEAN].share_of(series[BARE_LEAN])
    mixed = series[NODE_MIXED].share_of(series[NODE])
    return Report(
        name="cached",
        title="Recognising an image seen before",
        question="How close does a hit of the feature cache come to a bare endpoint?",
        claims=[Claim("Skerry's share of the bare endpoint", 100 * share, 100 * TARGET, "%")],
        tables=[
            _rates(series, {NODE: share, NODE_LEAN: lean, NODE_MIXED: mixed}),
        ],
        plots=[
            Bars(
                "Requests a second, all hits, 16 clients",
                "requests/s",
                list(series),
                [one.per_s for one in series.values()],
            )
        ],
        notes=[
            setting,
            "The bare endpoint (Starlette, uvicorn, uvloop, httptools) reads the same upload, "
            "hashes it, gets the key from the same memory cache, makes one search in the same "
            "vector worker and one query of ten rows, and answers JSON of the same size "
            f"({answers[BARE]:,} bytes; Skerry's is {answers[NODE]:,}). Skerry's cache entry holds "
            "the vector's JSON, the bare endpoint writes it anew; features=false has neither.",
            f"90% hits: every {MISS_EVERY}th upload has bytes never seen, so it is decoded and "
            "inferred; its share is of Skerry's own rate with hits only.",
        ],
    )


def _rates(series: dict[str, Series], shares: dict[str, float]) -> Table:
    rows: list[list[Cell]] = []
    for name, one in series.items():
        share: Cell = 100 * shares[name] if name in shares else ""
        costs = [one.of("server_cpu_ms"), one.of("client_cpu_ms")]
        rows.append([name, share, one.per_s, one.of("p50_ms"), one.of("p99_ms"), *costs])
    columns = [
        "", "share, %", "requests/s", "P50, ms", "P99, ms", "its CPU, ms", "client's CPU, ms",
    ]  # fmt: skip
    return Table("Rates", columns, rows)


if __name__ == "__main__":
    main()
