"""How far long work has come, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from skerry.cli.output import note

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_EVERY_S = 10.0


class Progress:
    """`with Progress("Storing", total=120) as progress: progress.advance()`."""

    def __init__(self, title: str, *, total: float | None, in_bytes: bool = False) -> None:
        self.title = title
        self.total = total
        self.done = 0.0
        self._drawn: RichProgress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()
        if sys.stderr.isatty():
            self._draw(in_bytes=in_bytes)

    def advance(self, by: float = 1) -> None:
        """`by` more is done."""
        self.set(self.done + by)

    def set(self, done: float, *, total: float | None = None, message: str = "") -> None:
        """`done` of `total` is done; `message` says what is being done now."""
        self.done, self.total = done, self.total if total is None else total
        if self._drawn is not None and self._task is not None:
            title = f"{self.title} {message}".rstrip()
            self._drawn.update(self._task, completed=done, total=self.total, description=title)
        elif time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            of = f" of {self.total:,.0f}" if self.total else ""
            note(f"{self.title}: {done:,.0f}{of} {message}".rstrip())

    def _draw(self, *, in_bytes: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._drawn = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn() if in_bytes else MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._drawn.add_task(self.title, total=self.total)

    def __enter__(self) -> Progress:
        if self._drawn is not None:
            self._drawn.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawn is not None:
            self._drawn.stop()
