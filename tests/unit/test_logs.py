"""Logging: one form for every logger, and what stays out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from skerry.logs import configure_logging


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("skerry")
    handlers, level, own = root.handlers[:], root.level, ours.level
    # A server that another test ran in this process has set its own logger's level.
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(own)


def test_json_logs_are_json_also_where_a_library_speaks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", format="json")
    logging.getLogger("skerry.index").info("ours", extra={"fields": {"points": 3}})
    logging.getLogger("uvicorn.error").warning("theirs")
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("python_multipart.multipart").warning("a client's fault")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["logger"], line["message"]) for line in lines] == [
        ("skerry.index", "ours"),
        ("uvicorn.error", "theirs"),
    ]
    assert lines[0]["points"] == 3


def test_the_level_is_that_of_our_own_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("error")
    logging.getLogger("skerry.http").warning("hidden")
    logging.getLogger("skerry.http").error("shown")
    assert "shown" in (written := capsys.readouterr().err)
    assert "hidden" not in written
