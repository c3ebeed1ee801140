"""Print values, tables and errors: JSON for programs, columns for pipes, colour for people."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from skerry.errors import SkerryError

PARTS_OF_A_BLOCK = " ▏▎▍▌▋▊▉█"


def print_json(value: Any) -> None:
    """`value` (builtins, msgspec Structs, dataclasses) as one line of JSON on stdout."""
    import msgspec

    click.echo(msgspec.json.encode(value))


def say(text: str = "") -> None:
    """One line for people on stdout."""
    click.echo(text)


def note(text: str) -> None:
    """One line beside the result, on stderr."""
    click.echo(text, err=True)


def show_error(error: SkerryError) -> None:
    """`error: what happened`, then what to do, on stderr."""
    click.echo(
        f"{style('error:', err=True, fg='red', bold=True)} {one_line(error.message)}", err=True
    )
    if error.remedy:
        click.echo(f"  {one_line(error.remedy)}", err=True)


def style(text: str, *, err: bool = False, **how: Any) -> str:
    """`text` in colour where colours are shown."""
    stream = sys.stderr if err else sys.stdout
    return click.style(text, **how) if wants_colour(stream) else text


def wants_colour(stream: Any) -> bool:
    """Whether `stream` is a terminal whose user has not set NO_COLOR."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")


def one_line(text: object) -> str:
    """`text` without line breaks or control characters, which a file name could smuggle in."""
    spaced = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "�" for c in spaced)


def printable(text: str) -> str:
    """`text` with its lines, but without the control characters that would steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def table(
    columns: Mapping[str, str], rows: Sequence[Sequence[object]], *, footer: str = ""
) -> None:
    """Rows under `columns` (name to `left` or `right`); nothing is cut off in a pipe."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw_table(columns, cells)
    else:
        _plain_table(columns, cells)
    if footer:
        note(footer)


def _draw_table(columns: Mapping[str, str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in columns.items():
        drawn.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def _plain_table(columns: Mapping[str, str], rows: list[list[str]]) -> None:
    lines = [list(columns), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.rjust(width) if side == "right" else cell.ljust(width)
            for cell, width, side in zip(line, widths, columns.values(), strict=True)
        ]
        say("  ".join(cells).rstrip())


def bar(share: float, *, width: int, start: float = 0.0) -> str:
    """A bar over `share` of `width` cells, beginning at `start` (both 0..1), in eighths."""
    offset = min(width - 1, int(start * width)) if start else 0
    eighths = min((width - offset) * 8, max(1 if share > 0 else 0, round(share * width * 8)))
    whole, rest = divmod(eighths, 8)
    return (" " * offset + "█" * whole + (PARTS_OF_A_BLOCK[rest] if rest else "")).ljust(width)


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def moment(seconds: int | None) -> str:
    """Unix seconds as local time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "-"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    for limit, step, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / step:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def count(number: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def tags_text(tags: Mapping[str, Any]) -> str:
    """`shelf=3 colour=red`."""
    return " ".join(f"{name}={value}" for name, value in tags.items())


def silence_output() -> None:
    """Point stdout at nothing, so that the interpreter's last flush meets no broken pipe."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
