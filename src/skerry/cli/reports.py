"""Say what became of many files, also when the run was cut short."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from skerry.cli.output import count, note, one_line, print_json, say
from skerry.errors import SkerryError

IGNORED_SHOWN = 5


class Outcome(Protocol):
    """What became of one thing; with an `error` it could not be stored."""

    @property
    def place(self) -> object:
        """The file, and where in it."""

    @property
    def status(self) -> str:
        """A word of the node's answer, or `failed`."""

    @property
    def error(self) -> SkerryError | None:
        """Why it failed."""


Kind = TypeVar("Kind", bound=Outcome)


class Report(ABC, Generic[Kind]):
    """What became of things named `noun`; `statuses` are the node's words and how people say them.

    The first status is that of a new one.
    """

    noun: ClassVar[str]
    statuses: ClassVar[Mapping[str, str]]
    what_is_ignored: ClassVar[str]
    list_name: ClassVar[str]

    def __init__(self, ignored: Sequence[Path] = ()) -> None:
        self.outcomes: list[Kind] = []
        self.ignored = ignored

    @property
    @abstractmethod
    def left(self) -> int:
        """How many were not reached."""

    @abstractmethod
    def entry(self, outcome: Kind) -> dict[str, Any]:
        """One outcome, for programs."""

    def remarks(self) -> Iterator[str]:
        """What else is to be said to people."""
        return iter(())

    @property
    def failed(self) -> list[Kind]:
        """Those that could not be stored."""
        return [outcome for outcome in self.outcomes if outcome.error]

    @contextmanager
    def shown(self, *, json: bool) -> Iterator[None]:
        """Print it at the end; of a run that breaks off, once something was done."""
        try:
            yield
        except (SkerryError, KeyboardInterrupt):
            if self.outcomes:
                self._print(json=json)
            raise
        self._print(json=json)

    def counts(self) -> Counter[str]:
        """How many met each status."""
        return Counter(outcome.status for outcome in self.outcomes)

    def _print(self, *, json: bool) -> None:
        if json:
            print_json(self._as_json())
            return
        say(self._summary())
        for outcome in self.failed:
            note(f"  {one_line(outcome.place)}: {one_line(outcome.error)}")
        for remark in self.remarks():
            note(remark)
        if self.ignored:
            note(self._ignored_line())

    def _summary(self) -> str:
        counts = self.counts()
        new, *known = self.statuses
        parts = [f"Stored {count(counts[new], self.noun)}"]
        parts += [f"{counts[name]:,} {self.statuses[name]}" for name in known if counts[name]]
        if counts["failed"]:
            parts.append(f"{counts['failed']:,} could not be stored")
        if self.left:
            parts.append(f"{self.left:,} not reached: the same command goes on from here")
        return ", ".join(parts) + "."

    def _ignored_line(self) -> str:
        names = ", ".join(one_line(path.name) for path in self.ignored[:IGNORED_SHOWN])
        more = ", ..." if len(self.ignored) > IGNORED_SHOWN else ""
        ignored = count(len(self.ignored), "file")
        return f"Ignored {ignored}, {self.what_is_ignored}: {names}{more}"

    def _as_json(self) -> dict[str, Any]:
        counts = self.counts()
        return {
            **{name: counts[name] for name in (*self.statuses, "failed")},
            "not_reached": self.left,
            self.list_name: [self.entry(outcome) for outcome in self.outcomes],
            "ignored": [str(path) for path in self.ignored],
        }


def error_json(error: SkerryError) -> dict[str, str]:
    """An error as the node's JSON has it."""
    return {"code": error.code, "message": error.message, "remedy": error.remedy}
