"""Show a benchmark's figures on the terminal and keep them as JSON, with what they were made on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from skerry.inference.cpu import this_cpu

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FLAGS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimddp", "i8mm", "bf16",
)  # fmt: skip
PACKAGES = (
    "skerry", "openvino", "onnxruntime", "qdrant-edge-py", "numpy", "pillow", "starlette",
    "uvicorn", "uvloop", "httptools", "msgspec", "orjson", "apsw", "litserve",
    "bm25s", "chromadb", "lancedb",
)  # fmt: skip

Cell = str | int | float


class Claim(msgspec.Struct, frozen=True):
    """A figure that was promised, and what came of it; `at_most` turns the comparison round."""

    what: str
    measured: float
    target: float
    unit: str = ""
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the promise was kept."""
        return self.measured <= self.target if self.at_most else self.measured >= self.target


class Table(msgspec.Struct, frozen=True):
    """Rows under named columns; the first column says what a row is."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Bars(msgspec.Struct, frozen=True, tag="bars"):
    """A plot of one bar per label; `reference` draws a line across."""

    title: str
    unit: str
    labels: Sequence[str]
    values: Sequence[float]
    reference: float | None = None


class Lines(msgspec.Struct, frozen=True, tag="lines"):
    """A plot of series of (x, y) points."""

    title: str
    x: str
    y: str
    series: dict[str, Sequence[tuple[float, float]]]


class Machine(msgspec.Struct, frozen=True):
    """What a benchmark ran on.

    `others_percent` and `stolen_percent` of all cores went, during the run, to programs that were
    no part of it, and to other machines on the same host: above a few, times are not to be trusted.
    """

    cpu: str
    cores: int
    flags: Sequence[str]
    memory_gb: float
    kernel: str
    others_percent: float | None = None
    stolen_percent: float | None = None


class Report(msgspec.Struct):
    """One benchmark's outcome, as its script fills it in."""

    name: str
    title: str
    question: str
    claims: list[Claim] = []
    tables: list[Table] = []
    plots: list[Bars | Lines] = []
    notes: list[str] = []


class Published(msgspec.Struct):
    """A report as kept in `results/NAME.json`."""

    report: Report
    command: str
    commit: str
    date: str
    machine: Machine
    versions: dict[str, str]


class Spent(msgspec.Struct, frozen=True):
    """Core seconds since boot: by all, by this process and its ended children, by the host."""

    at: float
    all: float
    own: float
    stolen: float

    @classmethod
    def now(cls) -> Spent:
        """Read the kernel's counters; zero where there are none."""
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        if not PROC_STAT.is_file():
            return cls(time.monotonic(), own, own, 0.0)
        ticks = [int(word) for word in PROC_STAT.read_text().splitlines()[0].split()[1:9]]
        user, nice, system, _, _, irq, soft_irq, stolen = (
            tick / os.sysconf("SC_CLK_TCK") for tick in ticks
        )
        busy = user + nice + system + irq + soft_irq
        return cls(time.monotonic(), busy, own, stolen)


PROC_STAT = Path("/proc/stat")
SPENT_AT_START = Spent.now()


def publish(report: Report) -> Path:
    """Print the report and write `results/NAME.json`; returns where it lies."""
    published = Published(
        report=report,
        command=" ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        commit=commit(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions={name: found for name in PACKAGES if (found := _version(name))},
    )
    show(report)
    print(f"- {quiet_text(published.machine)}")
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{report.name}.json"
    target.write_bytes(msgspec.json.format(msgspec.json.encode(published)) + b"\n")
    print(f"\nWritten: {target}")
    return target


def read(path: Path) -> Published:
    """A published report; msgspec.ValidationError for anything else."""
    return msgspec.json.decode(path.read_bytes(), type=Published)


def show(report: Report) -> None:
    """Print what a person at the terminal wants to see."""
    print(f"\n== {report.title}")
    for claim in report.claims:
        print(f"{'met   ' if claim.met else 'MISSED'}  {claim_text(claim)}")
    for table in report.tables:
        print(f"\n{table.title}")
        for line in aligned([table.columns, *table.rows]):
            print(f"  {line}")
    for note in report.notes:
        print(f"- {note}")


def claim_text(claim: Claim) -> str:
    """A claim in words: what, what was measured, what was promised."""
    bound = "at most" if claim.at_most else "at least"
    unit = "" if claim.unit in ("", "%") else " "
    figures = [f"{cell(value)}{unit}{claim.unit}" for value in (claim.measured, claim.target)]
    return f"{claim.what}: {figures[0]} ({bound} {figures[1]})"


def quiet_text(machine: Machine) -> str:
    """How much of the machine went elsewhere during the run, in words."""
    if machine.others_percent is None or machine.stolen_percent is None:
        return "How busy the machine was beside it is not known."
    return (
        f"Of all cores {machine.others_percent:.0f}% went to other programs during the run, and "
        f"{machine.stolen_percent:.0f}% to other machines on the host."
    )


def aligned(rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Rows as text, columns of equal width, all but the first to the right."""
    texts = [[cell(value) for value in row] for row in rows]
    widths = [max(len(row[at]) for row in texts) for at in range(len(texts[0]))]
    return [
        "  ".join(
            text.rjust(width) if at else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in texts
    ]


def cell(value: Cell) -> str:
    """A value with as many digits as it deserves: three or four."""
    if not isinstance(value, float):
        return str(value)
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def machine() -> Machine:
    """This machine, without a name or address of it, and what else it did during the run."""
    cpu = this_cpu()
    began, now = SPENT_AT_START, Spent.now()
    core_s = cpu.cores * max(1e-3, now.at - began.at)
    others_s = (now.all - began.all) - (now.own - began.own)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=cpu.name,
        cores=cpu.cores,
        flags=[flag for flag in FLAGS if flag in cpu.flags],
        memory_gb=round(pages / 2**30, 1),
        kernel=os.uname().release.split("-")[0],
        others_percent=round(max(0.0, 100 * others_s / core_s), 1),
        stolen_percent=round(100 * (now.stolen - began.stolen) / core_s, 1),
    )


def commit() -> str:
    """The commit of the working tree, marked when the source differs from it."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return f"{head} with changes" if _git("status", "--porcelain", "src") else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown: not a git working tree"


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
