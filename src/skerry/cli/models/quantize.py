"""`skerry quantize`: make a model faster with the images it will see, and say what it costs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry.cli.http import settings as settings_of
from skerry.cli.images.ingest import gather_images
from skerry.cli.options import Options, examples, json_option
from skerry.cli.output import count, note, print_json, say, size, table
from skerry.cli.progress import Progress

if TYPE_CHECKING:
    from skerry.config import Settings
    from skerry.inference.quantize import QuantizationReport
    from skerry.models.store import ModelStore

STEPS = {"calibrate": "Calibrating", "check": "Comparing with fp32"}


@click.command(
    epilog=examples(
        "skerry quantize efficientnet-lite2 --data photos/",
        "skerry quantize resnet50 --data photos/ --min-agreement 0.98",
    )
)
@click.argument("model")
@click.option(
    "--data",
    "photos",
    required=True,
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Images like those the model will see: 200 are plenty, 20 the least.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Share of images that must keep their first label.  [default: 0.97]",
)
@click.option(
    "--min-cosine",
    type=click.FloatRange(0, 1),
    metavar="COSINE",
    help="Mean cosine that features must keep.  [default: 0.98]",
)
@json_option
@click.pass_obj
def quantize(
    options: Options,
    model: str,
    photos: Path,
    min_agreement: float | None,
    min_cosine: float | None,
) -> int:
    """Make an INT8 variant of MODEL, calibrated on your images.

    Half of them calibrate, the other half compare it with fp32. Below the agreement or the cosine
    asked for it is kept apart, is never the default, and the exit code is 1.
    """
    from skerry.models.store import ModelStore

    settings = settings_of(options)
    store = ModelStore(settings.models_folder)
    asked = {"min_agreement": min_agreement, "min_cosine": min_cosine}
    given = {name: value for name, value in asked.items() if value is not None}
    report = _run(store, model, _shuffled(photos), settings, given)
    if options.json:
        print_json(report)
    else:
        _show(report)
    return 0 if report.passed else 1


def _shuffled(folder: Path) -> list[Path]:
    """The images below `folder`, mixed, so that each half has some of every sub-folder."""
    paths = [candidate.path for candidate in gather_images([folder]).candidates]
    # The same order each time: the same images give the same figures.
    random.Random(0).shuffle(paths)  # noqa: S311
    return paths


def _run(
    store: ModelStore, model: str, paths: list[Path], settings: Settings, asked: dict[str, float]
) -> QuantizationReport:
    import msgspec

    from skerry.inference.loading import choose
    from skerry.inference.quantize import quantize as run

    # With the precision given nothing is measured here: only the engine is asked for.
    fp32 = msgspec.structs.replace(settings.models, precision="fp32")
    engine = choose(store.get_image(model), settings=fp32).engine
    with Progress("Quantizing", total=None) as progress:

        def show(step: str, done: int, total: int) -> None:
            progress.set(done, total=total, message=STEPS[step])

        return run(store, model, paths, engine=engine, progress=show, **asked)


def _show(report: QuantizationReport) -> None:
    smaller = report.fp32_bytes / max(1, report.int8_bytes)
    faster = report.fp32_latency_ms / max(1e-6, report.int8_latency_ms)
    rows = [
        ("size", size(report.fp32_bytes), size(report.int8_bytes), f"{smaller:.1f}x smaller"),
        (
            "latency",
            f"{report.fp32_latency_ms:.1f} ms",
            f"{report.int8_latency_ms:.1f} ms",
            f"{faster:.1f}x as fast",
        ),
        (
            "top-1 agreement",
            "",
            f"{report.agreement:.3f}",
            f"at least {report.asked_agreement:g} asked",
        ),
        (
            "feature cosine",
            "",
            f"{report.mean_cosine:.4f}",
            f"at least {report.asked_cosine:g} asked; the lowest {report.min_cosine:.4f}",
        ),
    ]
    table({report.model: "left", "fp32": "right", "int8": "right", "": "left"}, rows)
    _say_verdict(report)


def _say_verdict(report: QuantizationReport) -> None:
    images = f"{report.calibration_images} images calibrated, {report.check_images} compared"
    if report.passed:
        say(f"Passed ({images}): it shares the space of fp32, and 'auto' may choose it.")
        note("A running node takes it up at its next start.")
    else:
        say(f"Not passed ({images}): kept apart, never the default.")
        note("More images, or images nearer to what it will see, may help.")
    if report.unreadable:
        note(f"Left out {count(len(report.unreadable), 'file')} that cannot be read, named above.")
