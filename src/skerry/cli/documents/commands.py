"""`skerry docs`: list, show and remove the documents that are stored."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.documents.options import filter_of, filter_options, span_options
from skerry.cli.http import open_client
from skerry.cli.lazy import Lazy, LazyGroup
from skerry.cli.options import Options, examples, node_options
from skerry.cli.output import (
    count,
    moment,
    note,
    one_line,
    print_json,
    printable,
    say,
    style,
    table,
    tags_text,
)
from skerry.cli.parameters import tag
from skerry.errors import DocumentNotFound

if TYPE_CHECKING:
    from skerry.client.documents import Chunk, Document

BEGINNING = 72
LAZY = {
    "add": Lazy("skerry.cli.documents.add:add", "Store files, folders and rows as documents."),
    "watch": Lazy("skerry.cli.documents.watch:watch", "Store what is in a folder and changes."),
}


@click.group(
    cls=LazyGroup,
    lazy=LAZY,
    epilog=examples(
        "skerry docs add manuals/",
        "skerry docs list --category support",
        "skerry docs show pumps/p3.pdf",
        'skerry search "how to change the filter"',
    ),
)
def docs() -> None:
    """Add, watch, list, show and remove documents."""


@docs.command(
    "list",
    epilog=examples(
        "skerry docs list --limit 20",
        "skerry docs list --category support --since 2026-01-31",
        "skerry docs list --all --json",
    ),
)
@span_options
@click.option(
    "--metadata", type=tag, multiple=True, metavar="NAME=VALUE", help="Only those that have it."
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    default=50,
    show_default=True,
    help="At most so many.",
)
@click.option("--all", "everything", is_flag=True, help="All of them, whatever --limit says.")
@node_options
@click.pass_obj
def list_documents(options: Options, /, limit: int, everything: bool, **given: Any) -> None:
    """List stored documents, the last added first.

    A TIME is a date, a date with a clock time, or Unix seconds, and asks for the documents' own.
    """
    filters = {
        "category": given["category"],
        "timestamp_after": given["since"],
        "timestamp_before": given["before"],
        "metadata": dict(given["metadata"]),
    }
    with open_client(options) as node:
        # One more than is shown, to know whether there are more.
        arriving = node.documents.all(limit=None if everything else limit + 1, **filters)
        found = list(arriving)
    shown = list(islice(found, None if everything else limit))
    more = len(found) > len(shown)
    if options.json:
        print_json({"documents": shown, "more": more})
    elif not shown:
        is_filtered = any(value not in (None, {}) for value in filters.values())
        note("No documents match." if is_filtered else "No documents are stored yet.")
    else:
        _document_table(shown, more=more)


def _document_table(documents: list[Document], *, more: bool) -> None:
    columns = {
        "id": "left", "title": "left", "category": "left", "time": "left", "metadata": "left",
        "chunks": "right", "characters": "right", "stored": "left",
    }  # fmt: skip
    rows = [
        (
            one.id,
            one.title or "",
            one.category or "",
            moment(one.timestamp),
            tags_text(one.metadata),
            f"{one.chunks:,}",
            f"{one.characters:,}",
            moment(one.updated_at),
        )
        for one in documents
    ]
    footer = f"The last {len(rows):,}; --limit or --all shows the others." if more else ""
    table(columns, rows, footer=footer)


@docs.command(
    epilog=examples(
        "skerry docs show pumps/p3.pdf",
        "skerry docs show pumps/p3.pdf --chunks",
        "skerry docs show pumps/p3.pdf --text | less",
    )
)
@click.argument("id")
@click.option("--chunks", is_flag=True, help="Each chunk with its place, too.")
@click.option("--text", is_flag=True, help="The whole text, and nothing else.")
@node_options
@click.pass_obj
def show(options: Options, id: str, chunks: bool, text: bool) -> None:
    """Show what is stored of one document."""
    with open_client(options) as node:
        document = node.documents.get(id, chunks=chunks)
    if options.json:
        print_json(document)
    elif text:
        say(printable(document.text) if sys.stdout.isatty() else document.text)
    else:
        _show(document)


def _show(document: Document) -> None:
    size = f"{document.characters:,} characters in {count(document.chunks, 'chunk')}"
    facts = {
        "id": document.id,
        "title": document.title or "none",
        "category": document.category or "none",
        "time": moment(document.timestamp),
        "metadata": tags_text(document.metadata) or "none",
        "stored": f"{moment(document.created_at)}, changed {moment(document.updated_at)}",
        "text": size,
    }
    for name, value in facts.items():
        say(f"{style(f'{name:8}', bold=True)}  {one_line(value)}")
    for part in document.parts:
        say(f"{'':8}  {_chunk_line(part)}")


def _chunk_line(part: Chunk) -> str:
    page = f" page {part.page}" if part.page else ""
    place = style(f"{part.start}-{part.end}{page}", dim=True)
    beginning = one_line(part.text)
    cut = f"{beginning[:BEGINNING]} ..." if len(beginning) > BEGINNING else beginning
    return f"{place}  {cut}"


@docs.command(
    epilog=examples(
        "skerry docs remove pumps/p3.pdf",
        "skerry docs remove --category support --before 2024-01-01",
        """skerry docs remove --filter '{"metadata": {"edition": 2}}' --yes""",
    )
)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@filter_options
@click.option("--yes", is_flag=True, help="Remove all that match without asking.")
@node_options
@click.pass_obj
def remove(options: Options, /, ids: tuple[str, ...], yes: bool, **given: Any) -> int:
    """Remove documents by id, or all that match. Exit code 1 when an id was not there."""
    wanted = filter_of(given)
    if bool(ids) == bool(wanted):
        raise click.UsageError("Name documents by id, or say which with --category or --filter.")
    return _remove_ids(options, ids) if ids else _remove_matching(options, wanted, yes=yes)


def _remove_ids(options: Options, ids: tuple[str, ...]) -> int:
    absent = []
    with open_client(options) as node:
        for one in ids:
            try:
                node.documents.remove(one)
            except DocumentNotFound:
                absent.append(one)
    removed = [one for one in ids if one not in absent]
    if options.json:
        print_json({"removed": removed, "not_found": absent})
        return 1 if absent else 0
    say(f"Removed {count(len(removed), 'document')}.")
    if absent:
        note(f"Not stored: {', '.join(map(one_line, absent))}.")
    return 1 if absent else 0


def _remove_matching(options: Options, wanted: dict[str, Any], *, yes: bool) -> int:
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Nobody is here to ask: --yes removes all that match.")
    if not yes:
        click.confirm("Remove all documents that match?", abort=True, err=True)
    with open_client(options) as node:
        removed = node.documents.remove_matching(wanted)
    if options.json:
        print_json({"removed_count": removed})
    else:
        say(f"Removed {count(removed, 'document')}.")
    return 0
