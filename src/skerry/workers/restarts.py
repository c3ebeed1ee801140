"""When a process that ended may be started again: at once, then ever later, then not for long."""

from __future__ import annotations

import time
from collections.abc import Callable

from skerry.errors import ModelUnavailable

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0


class Restarts:
    """Counts starts that failed in a row; the first failure costs no wait."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._failures = 0
        self._not_before = 0.0
        self._last: Exception | None = None

    def check(self) -> None:
        """ModelUnavailable, with the time to wait, when the last failures are too fresh."""
        wait_s = self._not_before - self._clock()
        if wait_s > 0:
            raise ModelUnavailable(
                f"The {self._name} model failed to start {self._failures} times: {self._last}",
                retry_after_s=round(wait_s, 1),
            )

    def failed(self, error: Exception) -> None:
        """Note a start that failed."""
        self._failures += 1
        self._last = error
        if self._failures > 1:
            wait_s = min(FIRST_WAIT_S * 2 ** (self._failures - 2), LONGEST_WAIT_S)
            self._not_before = self._clock() + wait_s

    def succeeded(self) -> None:
        """Note a start that worked."""
        self._failures = 0
        self._not_before = 0.0
        self._last = None
