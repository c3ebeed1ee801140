"""`skerry index`: look after the vector index."""

from __future__ import annotations

import click

from skerry.cli.http import open_client
from skerry.cli.jobs import follow
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import print_json, say


@click.group(
    epilog=examples("skerry index status", "skerry index optimize", "skerry index rebuild")
)
def index() -> None:
    """Look after the vector index: a view of the rows, which can always be built anew."""


@index.command()
@node_options
@click.pass_obj
def status(options: Options) -> None:
    """Show what the index holds and how far it is behind."""
    with open_client(options) as node:
        state = node.status().index
    if options.json:
        print_json(state)
        return
    say(f"state    {state.state}")
    say(f"space    {state.space}")
    say(f"points   {state.points:,}, of them {state.indexed:,} in the graph")
    say(f"behind   {state.lag:,} changes")
    if state.progress < 1:
        say(f"progress {state.progress:.0%}")


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
