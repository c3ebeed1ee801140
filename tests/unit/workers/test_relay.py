"""A worker's log lines in the node's log, at their own levels."""

from __future__ import annotations

import logging

import pytest

from skerry.workers.relay import RelayFormatter, parse


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])
def test_a_record_comes_back_with_its_level_on_one_line(level: int) -> None:
    record = logging.LogRecord("skerry.x", level, "f", 1, "two\nlines of %s", ("text",), None)
    record.fields = {"seconds": 2}
    line = RelayFormatter().format(record)
    assert "\n" not in line
    assert parse(line) == (level, "two lines of text seconds=2")


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "<9>odd", "<x>odd", ""])
def test_what_others_write_is_a_warning_and_kept_whole(line: str) -> None:
    assert parse(line) == (logging.WARNING, line)
