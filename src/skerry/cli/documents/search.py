"""`skerry search`: the passages of stored documents that answer to a few words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.documents.options import filter_of, filter_options
from skerry.cli.http import open_client
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import note, one_line, print_json, printable, say, style

if TYPE_CHECKING:
    from skerry.client.documents import Result, Results

BLANK_LINES = re.compile(r"\n\s*\n")
FACETS_SHOWN = 8


@click.command(
    epilog=examples(
        'skerry search "how to change the filter"',
        'skerry search "error E42" --mode keyword --category manuals',
        """skerry search pump --since 2026-01-31 --filter '{"metadata": {"edition": 3}}'""",
    )
)
@click.argument("words", nargs=-1, required=True, metavar="QUERY")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "dense", "keyword"]),
    default="hybrid",
    show_default=True,
    help="By meaning and words, by meaning, or by words.",
)
@filter_options
@click.option(
    "--limit",
    type=click.IntRange(1, 100),
    metavar="N",
    default=5,
    show_default=True,
    help="At most so many.",
)
@click.option("--group", is_flag=True, help="Only the best passage of each document.")
@click.option("--threshold", type=float, metavar="SCORE", help="Only those that score as much.")
@node_options
@click.pass_obj
def search(
    options: Options,
    /,
    words: tuple[str, ...],
    mode: Any,
    limit: int,
    group: bool,
    threshold: float | None,
    **given: Any,
) -> None:
    """Find passages of the stored documents, the best first.

    The score is the cosine (dense), BM25 (keyword), or both mapped to 0..1 (hybrid). The words of
    the query that a passage has are printed bold. A TIME is a date or Unix seconds.
    """
    query = " ".join(words).strip()
    if not query:
        raise click.UsageError("There is nothing to search for: the query is empty.")
    wanted = filter_of(given)
    with open_client(options) as node:
        found = node.search(
            query, mode=mode, limit=limit, filter=wanted or None, group=group, threshold=threshold
        )
    if options.json:
        print_json(found)
    elif not found.results:
        note("No document matches." if wanted or threshold else "Nothing found.")
    else:
        _show(found)


def _show(found: Results) -> None:
    for position, result in enumerate(found.results):
        if position:
            say()
        say(_head(result))
        for line in _passage(result):
            say(f"  {line}")
    for field, values in found.facets.items():
        if len(values) > 1:
            note(_facet_line(field, values))


def _head(result: Result) -> str:
    name = one_line(result.title or result.id)
    parts = [f"{result.score:.3f}", style(name, bold=True)]
    if result.title and result.title != result.id:
        parts.append(style(one_line(result.id), dim=True))
    if result.heading and result.heading != result.title:
        parts.append(one_line(result.heading))
    if result.page:
        parts.append(f"page {result.page}")
    return "  ".join(parts)


def _passage(result: Result) -> list[str]:
    """The text with the found words in bold, line by line, without blank ones."""
    marked = "".join(
        _bold(printable(piece)) if found else printable(piece)
        for piece, found in pieces(result.text, result.highlights)
    )
    return BLANK_LINES.sub("\n", marked).strip("\n").split("\n")


def _bold(text: str) -> str:
    # A style does not outlive the end of a line in every pager.
    return "\n".join(style(line, bold=True) if line else "" for line in text.split("\n"))


def pieces(text: str, places: Iterable[Sequence[int]]) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether it stands at one of the `places` (ascending)."""
    at = 0
    for start, end in places:
        yield text[at:start], False
        yield text[start:end], True
        at = end
    yield text[at:], False


def _facet_line(field: str, values: dict[str, int]) -> str:
    shown = [f"{one_line(value)} {number:,}" for value, number in values.items()]
    more = ", ..." if len(shown) > FACETS_SHOWN else ""
    return f"{field}: {', '.join(shown[:FACETS_SHOWN])}{more}"
