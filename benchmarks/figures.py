"""Write docs/figures.md and its plots from the JSON in benchmarks/results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import msgspec
from _report import (
    RESULTS,
    ROOT,
    Bars,
    Cell,
    Claim,
    Lines,
    Published,
    Table,
    cell,
    claim_text,
    quiet_text,
    read,
)

mpl.use("svg")
from matplotlib import pyplot as plt

DOCS = ROOT / "docs"
PLOTS = DOCS / "figures"
ORDER = (
    "recognize", "cached", "ladder", "ingest", "vector_search", "startup", "shared_weights",
    "embeddings", "classification", "generation", "retrieval", "documents",
)  # fmt: skip
BUSY_PERCENT = 10
BAR, MUTED, REFERENCE = "#2f6f8f", "#8a979e", "#c2562d"
INTRO = """# Figures

What the node was measured to do, beside the floor it cannot go under and the peers one would
otherwise use. Ratios come first: they were taken by turns in one run, with everything else paused,
and hold better than any single time. A promise that was not kept is shown as **missed**.

This page is written by `make bench` from the JSON in `benchmarks/results/`; each part names the
command that made it. Load generator, floor, peers and node share the same cores.
"""


def write_page() -> Path:
    """The page and its plots; results that cannot be read are named on it."""
    PLOTS.mkdir(parents=True, exist_ok=True)
    for old in PLOTS.glob("*.svg"):
        old.unlink()
    results: list[Published] = []
    unread: list[str] = []
    for path in _in_order(sorted(RESULTS.glob("*.json"))):
        try:
            results.append(read(path))
        except msgspec.ValidationError as error:
            unread.append(f"`{path.name}` could not be read: {error}")
    parts = [
        INTRO,
        *_warning(results),
        _summary(results),
        *[_section(result) for result in results],
        *unread,
    ]
    page = DOCS / "figures.md"
    page.write_text("\n".join(parts).rstrip() + "\n", "utf-8")
    return page


def _in_order(paths: Sequence[Path]) -> list[Path]:
    def rank(path: Path) -> tuple[int, str]:
        # A script that measures several cases names each: vector_search_384.
        fitting = (at for at, name in enumerate(ORDER) if path.stem.startswith(name))
        return next(fitting, len(ORDER)), path.stem

    return sorted(paths, key=rank)


def _warning(results: Sequence[Published]) -> list[str]:
    busy = [
        f"{result.report.name} ({result.machine.others_percent:.0f}%)"
        for result in results
        if (result.machine.others_percent or 0.0) > BUSY_PERCENT
    ]
    if not busy:
        return []
    return [
        f"**Taken beside other work.** Other programs took more than {BUSY_PERCENT}% of the cores "
        f"while these were measured: {', '.join(busy)}. Their times are not to be trusted, and "
        "their ratios only roughly; run `make bench` on a machine with nothing else to do.\n"
    ]


def _summary(results: Sequence[Published]) -> str:
    rows: list[list[Cell]] = []
    for result in results:
        for claim in result.report.claims:
            kept = "kept" if claim.met else "**missed**"
            rows.append([claim.what, _quantity(claim.measured, claim), _bound(claim), kept])
    return _markdown(Table("", ["promise", "measured", "promised", ""], rows))


def _quantity(value: float, claim: Claim) -> str:
    space = "" if claim.unit in ("", "%") else " "
    return f"{cell(value)}{space}{claim.unit}"


def _bound(claim: Claim) -> str:
    return f"{'at most' if claim.at_most else 'at least'} {_quantity(claim.target, claim)}"


def _section(result: Published) -> str:
    report = result.report
    lines = [f"## {report.title}", "", report.question, ""]
    for claim in report.claims:
        lines.append(f"- {'Kept' if claim.met else '**Missed**'}: {claim_text(claim)}")
    lines.append("")
    for at, plot in enumerate(report.plots):
        name = f"{report.name}-{at + 1}.svg"
        _draw(plot, PLOTS / name)
        lines += [f"![{plot.title}](figures/{name})", ""]
    for table in report.tables:
        lines += [f"**{table.title}**", "", _markdown(table)]
    lines += [f"- {note}" for note in report.notes]
    lines += ["", _origin(result), ""]
    return "\n".join(lines)


def _origin(result: Published) -> str:
    machine = result.machine
    flags = ", ".join(machine.flags) or "none of note"
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return (
        f"`{result.command}` at commit {result.commit}, {result.date[:16].replace('T', ' ')} UTC, "
        f"on {machine.cores} cores of {machine.cpu} ({flags}), {machine.memory_gb:.0f} GB, Linux "
        f"{machine.kernel}. {quiet_text(machine)} {versions}."
    )


def _markdown(table: Table) -> str:
    head = "| " + " | ".join(table.columns) + " |"
    rule = "|" + "|".join(["---", *["---:"] * (len(table.columns) - 1)]) + "|"
    rows = ["| " + " | ".join(cell(value) for value in row) + " |" for row in table.rows]
    return "\n".join([head, rule, *rows, ""])


def _draw(plot: Bars | Lines, target: Path) -> None:
    # Text stays text and ids stay the same from run to run, so the files are small and diff well.
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "skerry", "font.family": "sans-serif"}
    figure = _bars(plot) if isinstance(plot, Bars) else _lines(plot)
    figure.savefig(target, format="svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def _bars(plot: Bars) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.42 * len(plot.labels)))
    positions = range(len(plot.labels))[::-1]
    bars = axes.barh(list(positions), list(plot.values), color=BAR, height=0.62)
    axes.bar_label(bars, [cell(float(value)) for value in plot.values], padding=4)
    axes.set_yticks(list(positions), list(plot.labels))
    if plot.reference is not None:
        axes.axvline(plot.reference, color=REFERENCE, linewidth=1, linestyle="--")
    axes.set_xlim(right=1.15 * max(plot.values, default=1.0))
    _finish(axes, plot.title, x=plot.unit)
    return figure


def _lines(plot: Lines) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(7, 3))
    for (name, points), colour in zip(
        plot.series.items(), (BAR, REFERENCE, MUTED) * 4, strict=False
    ):
        axes.plot([x for x, _ in points], [y for _, y in points], label=name, color=colour)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(plot.y)
    axes.legend(frameon=False)
    _finish(axes, plot.title, x=plot.x)
    return figure


def _finish(axes: plt.Axes, title: str, *, x: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main() -> None:
    print(write_page())


if __name__ == "__main__":
    main()
