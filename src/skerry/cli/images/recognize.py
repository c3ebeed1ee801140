"""`skerry recognize`: what images show, what they resemble, and where the time went."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.http import open_client
from skerry.cli.images.commands import similar_table
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import bar, one_line, print_json, say, show_error, style
from skerry.cli.reports import error_json
from skerry.cli.sending import FATAL
from skerry.errors import SkerryError

if TYPE_CHECKING:
    from skerry.client import Client
    from skerry.client.answers import Label, Recognition, SuggestedTag

BAR_WIDTH = 30


@click.command(
    epilog=examples(
        "skerry recognize photo.jpg",
        "skerry recognize *.jpg --limit 0",
        "curl -s https://example.com/cat.jpg | skerry recognize -",
    )
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option(
    "--limit",
    type=click.IntRange(0, 100),
    metavar="N",
    default=5,
    show_default=True,
    help="Similar images.",
)
@click.option(
    "--labels",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=5,
    show_default=True,
    help="Labels, the likeliest first.",
)
@click.option("--features", is_flag=True, help="With --json: the feature vector too.")
@click.option("--model", metavar="NAME", help="Another model than the default.")
@node_options
@click.pass_obj
def recognize(
    options: Options,
    files: tuple[Path, ...],
    limit: int,
    labels: int,
    features: bool,
    model: str | None,
) -> int:
    """Say what image files show and which stored images are like them; '-' reads stdin.

    Nothing is stored. Exit code 1 when a file could not be read.
    """
    asked = {"limit": limit, "labels": labels, "features": features, "model": model}
    results: list[dict[str, Any]] = []
    failed = 0
    with open_client(options) as node:
        for position, file in enumerate(files):
            try:
                answer = _ask(node, file, asked)
            except FATAL:
                raise
            except SkerryError as error:
                failed += 1
                results.append({"file": str(file), "error": error_json(error)})
                if not options.json:
                    _show_failure(file, error)
                continue
            results.append(_as_json(file, answer))
            if not options.json:
                _draw(file, answer, first=position == 0)
    if options.json:
        print_json({"results": results})
    return 1 if failed else 0


def _ask(node: Client, file: Path, asked: dict[str, Any]) -> Recognition:
    image = sys.stdin.buffer.read() if str(file) == "-" else file
    return node.recognize(image, **asked)


def _show_failure(file: Path, error: SkerryError) -> None:
    named = error.message if str(file) in error.message else f"{file}: {error.message}"
    show_error(SkerryError(named, remedy=error.remedy))


def _as_json(file: Path, answer: Recognition) -> dict[str, Any]:
    import msgspec

    built: dict[str, Any] = msgspec.to_builtins(answer)
    return {"file": str(file), **built}


def _draw(file: Path, answer: Recognition, *, first: bool) -> None:
    if not first:
        say()
    model = f"{answer.model.name} {answer.model.precision}".strip()
    facts = f"{model}, {answer.total_time_ms:.1f} ms, cache {answer.cache}"
    say(f"{style(one_line(file), bold=True)}  {style(facts, dim=True)}")
    _draw_labels(answer.labels)
    if answer.suggested_tags:
        say(style("suggested tags", bold=True))
        for suggested in answer.suggested_tags:
            say(f"  {_suggestion(suggested)}")
    if answer.similar_images:
        say(style("similar images", bold=True))
        similar_table(answer.similar_images)
    _draw_stages(answer.stages)


def _draw_labels(labels: list[Label]) -> None:
    names = [one_line(label.label) for label in labels]
    width = max((len(name) for name in names), default=0)
    for name, label in zip(names, labels, strict=True):
        drawn = style(bar(label.probability, width=BAR_WIDTH), fg="cyan")
        say(f"  {name:{width}}  {drawn} {label.probability:6.1%}")


def _suggestion(tag: SuggestedTag) -> str:
    votes = "1 vote" if tag.votes == 1 else f"{tag.votes} votes"
    return f"{one_line(tag.name)}={one_line(tag.value)}  {tag.confidence:.0%}, {votes}"


def _draw_stages(stages: dict[str, float]) -> None:
    """A small waterfall: each stage begins where the one before it ended."""
    spans = {name: spent for name, spent in stages.items() if name != "total"}
    whole = sum(spans.values())
    if not whole:
        return
    say(style("where the time went", bold=True))
    begun = 0.0
    for name, spent in spans.items():
        drawn = style(bar(spent / whole, width=BAR_WIDTH, start=begun / whole), fg="green")
        say(f"  {name:10} {drawn} {spent:7.1f} ms")
        begun += spent
