"""How fast are images stored, beside a bare loop, and does memory stay flat?"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from _floor import Recipe, looping, start_floor
from _load import Load
from _photos import VARIED, WORK, describe, photos
from _processes import Service, pull_models, start_node, stopped_after
from _report import Cell, Claim, Lines, Report, Table, publish
from _store import Stored, Uploads, images

from skerry.inference.cpu import usable_cores

CLIENTS = 8
PARTS = 5
FLOOR_SECONDS = 5.0
SAMPLE_EVERY_S = 2.0
WARM_SHARE = 0.2
# Small, so that it is full before the first fifth of the images is in: what grows then, leaks.
CACHE_BYTES = 1 << 20
GROWTH_TARGET_KB = 1.0


@dataclass(slots=True)
class Watch:
    """Memory over time: (images stored, MB), node and its worker apart."""

    node: Service
    uploads: Uploads
    stored_before: int
    resident: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: {"node": [], "vector worker": []}
    )
    _next: float = 0.0

    def sample(self) -> None:
        """Note what is held now, unless that was done a moment ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SAMPLE_EVERY_S
        images = self.stored_before + self.uploads.done
        first, *others = [process.memory_info().rss / 2**20 for process in self.node.processes()]
        self.resident["node"].append((images, first))
        self.resident["vector worker"].append((images, sum(others)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    arguments = parser.parse_args()
    pull_models()
    paths = photos(VARIED, arguments.count)
    # Beside each other on one disk, and not in memory as a temporary folder may be.
    with tempfile.TemporaryDirectory(prefix="ingest-", dir=WORK) as name:
        figures = compare(paths, Path(name))
    publish(figures)


def compare(paths: Sequence[Path], folder: Path) -> Report:
    """Parts of the collection by turns with the floor, on one node that grows."""
    node = start_node(folder / "data", cache_max_bytes=CACHE_BYTES)
    with stopped_after([node]):
        model = node.get("/api/status")["models"][0]
        cores = usable_cores()
        written = folder / "floor"
        written.mkdir()
        recipe = Recipe(
            model["name"], model["engine"], model["precision"],
            streams=cores, threads=CLIENTS, folder=str(written),
        )  # fmt: skip
        floor = start_floor(recipe, paths[:500])
        with stopped_after([floor]):
            floors, parts, resident = by_parts(node, floor, paths)
        stored = node.get("/api/status")["images"]
    if stored != len(paths):
        raise SystemExit(f"{len(paths)} images were acknowledged, the node counts {stored}")
    setting = (
        f"{describe(paths)}. {model['name']} in {model['precision']}, {CLIENTS} clients, one image "
        f"a request, in {PARTS} parts by turns with the floor; all {stored:,} images were found "
        "stored at the end."
    )
    return report(floors, parts, resident, setting)


def by_parts(
    node: Service, floor: Service, paths: Sequence[Path]
) -> tuple[list[Load], list[Stored], dict[str, list[tuple[float, float]]]]:
    """Floor, part of the images, floor, next part ...; memory is watched throughout."""
    size = -(-len(paths) // PARTS)
    turn = looping(floor, seconds=FLOOR_SECONDS)
    turn()
    floor.pause()
    floors: list[Load] = []
    parts: list[Stored] = []
    resident: dict[str, list[tuple[float, float]]] = {"node": [], "vector worker": []}
    for start in range(0, len(paths), size):
        node.pause()
        floor.resume()
        floors.append(turn())
        floor.pause()
        node.resume()
        uploads = Uploads(node.url, images(paths[start : start + size]))
        watch = Watch(node, uploads, stored_before=start)
        parts.append(uploads.run(clients=CLIENTS, watch=watch.sample))
        for name, samples in watch.resident.items():
            resident[name] += samples
        print(f"  floor {floors[-1].per_s:.1f}/s, Skerry {parts[-1].per_s:.1f}/s", flush=True)
    floor.resume()
    return floors, parts, resident


def report(
    floors: Sequence[Load],
    parts: Sequence[Stored],
    resident: dict[str, list[tuple[float, float]]],
    setting: str,
) -> Report:
    """The figures, ratios first."""
    pairs = zip(floors, parts, strict=True)
    share = median(part.per_s / floor.per_s for floor, part in pairs)
    growth_kb = {name: 1024 * slope(samples) for name, samples in resident.items()}
    return Report(
        name="ingest",
        title="Storing images",
        question="How fast are images stored, and does memory stay flat?",
        claims=[
            Claim(
                "Growth of the node's memory per image, after warming up",
                growth_kb["node"],
                GROWTH_TARGET_KB,
                "KB",
                at_most=True,
            ),
        ],
        tables=[_rates(floors, parts, share), _memory(resident, growth_kb)],
        plots=[
            Lines("Resident memory while storing", "images stored", "MB", dict(resident.items()))
        ],
        notes=[
            setting,
            "The floor decodes, infers, writes the file and syncs it, in a bare loop of as many "
            "threads as there are clients. Skerry also syncs the folder and the transaction, "
            "hashes, probes, keeps the row and the vector, and indexes what it stored.",
            f"The feature cache is bounded to {CACHE_BYTES >> 20} MB here, so that it is full "
            "early and what grows afterwards would be a leak. The vector worker holds every "
            "vector, and grows by that.",
        ],
    )


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Least-squares MB per image, the first fifth left out; Theil and Sen would say the same."""
    warm = [at for at in samples if at[0] >= WARM_SHARE * samples[-1][0]]
    mean_x = sum(x for x, _ in warm) / len(warm)
    mean_y = sum(y for _, y in warm) / len(warm)
    spread = sum((x - mean_x) ** 2 for x, _ in warm)
    return sum((x - mean_x) * (y - mean_y) for x, y in warm) / spread if spread else 0.0


def _rates(floors: Sequence[Load], parts: Sequence[Stored], share: float) -> Table:
    floor, node = median(load.per_s for load in floors), median(part.per_s for part in parts)
    cuts = quantiles([ms for part in parts for ms in part.latencies_ms], n=100)
    rows: list[list[Cell]] = [
        ["floor: decode, infer, write, sync", 100.0, floor, "", ""],
        ["Skerry", 100 * share, node, cuts[49], cuts[98]],
    ]
    return Table("Rates", ["", "share of floor, %", "images/s", "P50, ms", "P99, ms"], rows)


def _memory(resident: dict[str, list[tuple[float, float]]], growth_kb: dict[str, float]) -> Table:
    rows: list[list[Cell]] = []
    for name, samples in resident.items():
        held = [mb for _, mb in samples]
        rows.append([name, held[0], held[len(held) // 2], held[-1], max(held), growth_kb[name]])
    columns = ["", "first, MB", "half-way, MB", "last, MB", "most, MB", "KB an image"]
    return Table("Resident memory", columns, rows)


if __name__ == "__main__":
    main()
