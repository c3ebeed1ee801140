"""`skerry images watch`: store what appears in a folder, once it is complete."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from skerry.cli.folders import Candidate
from skerry.cli.http import open_client
from skerry.cli.images.add import outcome_json
from skerry.cli.images.ingest import Ingest, Marks, Outcome, looks_like_image
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import note, one_line, print_json, say, style
from skerry.cli.parameters import tag, tag_name
from skerry.cli.watching import Arrivals, follow, until_it_works, watch_options


@click.command(
    short_help="Store what is in a folder and what appears there.",
    epilog=examples(
        "skerry images watch inbox/",
        "skerry images watch shelves/ --tag-by-folder shelf",
        "skerry images watch /mnt/camera --poll     network drives send no events",
    ),
)
@click.option(
    "--tag", "tags", type=tag, multiple=True, metavar="NAME=VALUE", help="Tag each image."
)
@click.option("--tag-by-folder", type=tag_name, metavar="NAME", help="Tag NAME with sub-folder.")
@click.option("--uploaded-by", metavar="WHO", help="Who adds them; else the key's name.")
@watch_options
@node_options
@click.pass_obj
def watch(
    options: Options,
    folder: Path,
    tags: tuple[tuple[str, str], ...],
    tag_by_folder: str | None,
    uploaded_by: str | None,
    settle_s: float,
    poll: bool,
) -> None:
    """Store the images in FOLDER and every one that appears there, until Ctrl-C.

    A file is sent once it has stopped growing. Files that are deleted stay stored. While the node
    is away, files wait. With --json, one JSON object a line.
    """
    marks = Marks(uploaded_by, dict(tags), tag_by_folder)
    arrivals = Arrivals(folder.resolve(), looks_like_image, settle_s=settle_s)
    with open_client(options) as node:
        ingest = Ingest(node, marks, ask_first=True)
        # Before the first look, so that a wrong key or address is said at once.
        node.status()
        for change in follow(arrivals, poll=poll):
            if isinstance(change, Candidate):
                outcome = until_it_works(partial(ingest.store, change), noun="image")
                _print(outcome, json=options.json)


def _print(outcome: Outcome, *, json: bool) -> None:
    if json:
        print_json(outcome_json(outcome))
    elif outcome.error:
        failed = style("failed", err=True, fg="red")
        note(f"{failed}  {one_line(outcome.path)}: {one_line(outcome.error)}")
    elif outcome.status == "created":
        first = f"  {outcome.labels[0]}" if outcome.labels else ""
        say(f"{style('stored', fg='green')}  {outcome.id}  {one_line(outcome.path)}{first}")
    else:
        say(f"{style('known', dim=True)}   {outcome.id}  {one_line(outcome.path)}")
