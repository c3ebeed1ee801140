"""`skerry index`: look after the vector index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skerry.cli.http import open_client
from skerry.cli.node.jobs import follow
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import print_json, say, style

if TYPE_CHECKING:
    from skerry.client.answers import IndexStatus


@click.group(
    epilog=examples("skerry index status", "skerry index optimize", "skerry index rebuild")
)
def index() -> None:
    """Look after the vector index: a view of the rows, which can always be built anew."""


@index.command()
@node_options
@click.pass_obj
def status(options: Options) -> None:
    """Show what the indexes of images and of documents hold and how far they are behind."""
    with open_client(options) as node:
        status = node.status()
    indexes = {"images": status.index, "documents": status.documents.index}
    if options.json:
        print_json(indexes)
        return
    for name, state in indexes.items():
        say(style(name, bold=True))
        _show(state)


def _show(state: IndexStatus) -> None:
    if not state.space:
        say("  empty: it is made when the first one is stored")
        return
    say(f"  state    {state.state}")
    say(f"  space    {state.space}")
    say(f"  points   {state.points:,}, of them {state.indexed:,} in the graph")
    say(f"  behind   {state.lag:,} changes")
    if state.progress < 1:
        say(f"  progress {state.progress:.0%}")


@index.command()
@click.option(
    "--model", metavar="NAME", help="Embed all documents by this model, then search by it."
)
@node_options
@click.pass_obj
def rebuild(options: Options, model: str | None) -> int:
    """Build the index anew from the rows; searches go on meanwhile."""
    with open_client(options) as node:
        return follow(node, node.index.rebuild(model=model), json=options.json)


@index.command()
@node_options
@click.pass_obj
def optimize(options: Options) -> int:
    """Build the graph for what was added since; searches go on meanwhile."""
    with open_client(options) as node:
        return follow(node, node.index.optimize(), json=options.json)
