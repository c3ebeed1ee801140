"""`skerry ask`: an answer from the stored documents, with the places it stands on."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.documents.options import filter_of, filter_options
from skerry.cli.http import open_client
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import note, one_line, print_json, printable, say, style

if TYPE_CHECKING:
    from skerry.client.asking import AnswerSource, DocumentsAnswer

LONG_S = 600.0
PATIENCE_S = 60.0
MAX_PASSAGES = 10
EXPLAINED = 5


@click.command(
    epilog=examples(
        'skerry ask "How is the filter changed?"',
        'skerry ask "How is the filter changed?" --mode generate',
        'skerry ask "Who signs for returns?" --category rules --explain',
    )
)
@click.argument("words", nargs=-1, required=True, metavar="QUESTION")
@click.option(
    "--mode",
    type=click.Choice(["auto", "extract", "generate"]),
    default="auto",
    show_default=True,
    help="Quote, let the language model phrase it, or as that model's card says.",
)
@filter_options
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_PASSAGES),
    metavar="N",
    default=5,
    show_default=True,
    help="At most so many quotes, or passages for the language model to read.",
)
@click.option("--explain", is_flag=True, help="Tell what was found, how it was judged, and when.")
@node_options
@click.pass_obj
def ask(
    options: Options,
    /,
    words: tuple[str, ...],
    mode: Any,
    limit: int,
    explain: bool,
    **given: Any,
) -> None:
    """Ask the stored documents a question.

    The answer is quoted from them, or phrased by the language model; where they hold none, that
    is said, which is no failure. Sources are told with their characters in the document.
    """
    question = " ".join(words).strip()
    if not question:
        raise click.UsageError("There is nothing to ask: the question is empty.")
    asked = {"mode": mode, "limit": limit, "filter": filter_of(given), "explain": explain}
    with open_client(options, timeout_s=LONG_S, patience_s=PATIENCE_S) as node:
        if options.json:
            print_json(node.ask(question, **asked))
            return
        with closing(node.ask_streamed(question, **asked)) as parts:
            for part in parts:
                if part.text:
                    click.echo(printable(part.text), nl=False)
                    sys.stdout.flush()
                if part.whole is not None:
                    _tell(part.whole)


def _tell(answer: DocumentsAnswer) -> None:
    """What stands below the answer, or in place of it."""
    if answer.declined:
        say(f"Not in here. {one_line(answer.reason)}")
    else:
        say("\n")
        for source in answer.sources:
            say(_source_line(source))
        _warn(answer)
    if answer.explain is not None:
        _explain(answer.explain)


def _source_line(source: AnswerSource) -> str:
    name = style(one_line(source.title or source.id), bold=True)
    place = [f"characters {source.start}-{source.end}"]
    if source.page:
        place.insert(0, f"page {source.page}")
    if source.title and source.title != source.id:
        place.insert(0, one_line(source.id))
    if source.heading and source.heading != source.title:
        place.append(one_line(source.heading))
    return f"  {source.score:.3f}  {name}  {', '.join(place)}"


def _warn(answer: DocumentsAnswer) -> None:
    if answer.unsupported and answer.answer is not None:
        note("No source supports this part of the answer:")
        for start, end in answer.unsupported:
            note(f"  {one_line(answer.answer[start:end])}")
    if answer.finish_reason == "length":
        note("The answer was cut at the most tokens it may have.")


def _explain(told: dict[str, Any]) -> None:
    say()
    if told["threshold"] is not None:
        say(f"{style('judged', bold=True)}  answered from a chance of {told['threshold']:.2f} on")
    for name, value in told["features"].items():
        say(f"  {name:18} {value:8.3f}")
    say(style("likeliest sentences", bold=True))
    for one in told["sentences"][:EXPLAINED]:
        say(f"  {one['chance']:.3f}  {one_line(one['id'])}  {one_line(one['text'])}")
    say(style("where the time went", bold=True))
    for name, spent_ms in told["timings"].items():
        say(f"  {name:18} {spent_ms:8.1f} ms")
