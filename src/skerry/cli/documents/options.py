"""The options that commands for documents share, and the filter they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from skerry.cli.documents.files import Labels
from skerry.cli.parameters import instant, json_object, scalar

Function = TypeVar("Function", bound=Callable[..., Any])
CLAUSES = ("must", "should", "must_not")


def label_options(function: Function) -> Function:
    """Give the command what is stored beside the text; `labels_of` reads it."""
    for decorate in (
        click.option(
            "--timestamp-from-file",
            is_flag=True,
            help="When the file was last changed is the document's time, for search --since.",
        ),
        click.option(
            "--prefix", metavar="TEXT", default="", help="Put before each id, as in 'manuals/'."
        ),
        click.option(
            "--metadata",
            type=scalar,
            multiple=True,
            metavar="NAME=VALUE",
            help="Store beside each document; repeatable. Numbers, true and false are such.",
        ),
        click.option(
            "--category-from-folder",
            is_flag=True,
            help="The sub-folder is the category; --category is that of files in none.",
        ),
        click.option("--category", metavar="NAME", help="The documents' category."),
    ):
        function = decorate(function)
    return function


def labels_of(given: dict[str, Any]) -> Labels:
    """What `label_options` were given."""
    return Labels(
        category=given["category"],
        category_from_folder=given["category_from_folder"],
        metadata=dict(given["metadata"]),
        prefix=given["prefix"],
        timestamp_from_file=given["timestamp_from_file"],
    )


def span_options(function: Function) -> Function:
    """Give the command `--category`, `--since` and `--before`."""
    for decorate in (
        click.option("--before", type=instant, metavar="TIME", help="Only those of before."),
        click.option("--since", type=instant, metavar="TIME", help="Only those from then on."),
        click.option("--category", metavar="NAME", help="Only those of this category."),
    ):
        function = decorate(function)
    return function


def filter_options(function: Function) -> Function:
    """Give the command those of `span_options` and `--filter`; `filter_of` reads them."""
    wanted = click.option(
        "--filter",
        "wanted",
        type=json_object,
        metavar="JSON",
        help='Only those: \'{"metadata": {"edition": 3}}\', or Qdrant\'s filter JSON.',
    )
    return span_options(wanted(function))


def filter_of(given: dict[str, Any]) -> dict[str, Any]:
    """The node's filter for what `filter_options` were given; empty when that is nothing."""
    wanted: dict[str, Any] = given["wanted"] or {}
    short: dict[str, Any] = {}
    if given["category"] is not None:
        short["category"] = given["category"]
    bounds = {"gte": given["since"], "lt": given["before"]}
    if times := {name: bound for name, bound in bounds.items() if bound is not None}:
        short["timestamp"] = times
    if wanted.keys().isdisjoint(CLAUSES):
        if both := short.keys() & wanted.keys():
            raise click.UsageError(f"--filter names '{min(both)}' too: say it once.")
        return {**wanted, **short}
    conditions = [_condition(name, value) for name, value in short.items()]
    return {"must": [wanted, *conditions]} if conditions else wanted


def _condition(key: str, wanted: Any) -> dict[str, Any]:
    if isinstance(wanted, dict):
        return {"key": key, "range": wanted}
    return {"key": key, "match": {"value": wanted}}
