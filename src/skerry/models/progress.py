"""How far a pull has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Step = Literal["wait", "fetch", "check", "convert", "install"]


@dataclass(frozen=True, slots=True)
class Progress:
    """The step under way; bytes are 0 where they are not known."""

    step: Step
    done_bytes: int = 0
    total_bytes: int = 0


ProgressSink = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """For callers who do not show it."""
