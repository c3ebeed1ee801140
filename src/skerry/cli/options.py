"""The options every command shares, accepted before and after the command's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

DATA_HELP = "Data folder; else SKERRY_DATA, else the user's data folder."


@dataclass
class Options:
    """What the shared options said, for the whole command line."""

    url: str | None = None
    key: str | None = None
    json: bool = False
    data: Path | None = None


def json_option(function: Function) -> Function:
    """Give the command `--json`."""
    option = click.option(
        "--json",
        is_flag=True,
        default=False,
        expose_value=False,
        callback=_remember,
        help="Print one JSON value on stdout.",
    )
    return option(function)


def node_options(function: Function) -> Function:
    """Give the command `--url`, `--key` and `--json`."""
    url = click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=_remember,
        help="The node; else SKERRY_URL, else http://127.0.0.1:8642.",
    )
    key = click.option(
        "--key",
        metavar="KEY",
        expose_value=False,
        callback=_remember,
        help="API key; better in SKERRY_KEY, out of the process list.",
    )
    return url(key(json_option(function)))


def data_option(function: Function) -> Function:
    """Give the command `--data`."""
    option = click.option(
        "--data",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        expose_value=False,
        callback=_remember,
        help=DATA_HELP,
    )
    return option(function)


def examples(*lines: str) -> str:
    """The end of a command's help: what to type first."""
    return "\b\n" + "\n".join(("Try:", *(f"  {line}" for line in lines)))


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    options = ctx.ensure_object(Options)
    # Not given here must not undo what was given before the command's name.
    if value and parameter.name:
        setattr(options, parameter.name, value)
