"""Log lines of a worker on their way to its node's log, each with its level before it.

The form is that of systemd's `sd-daemon(3)`: `<6>text`, the number a syslog priority.
"""

from __future__ import annotations

import logging
import re
import sys

PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
LEVELS = {priority: level for level, priority in PRIORITIES.items()}
PREFIX = re.compile(r"<([0-7])>")


class RelayFormatter(logging.Formatter):
    """`<6>message key=value`, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record`; its `fields` (a dict) follow the message."""
        fields = getattr(record, "fields", {})
        tail = "".join(f" {name}={value}" for name, value in fields.items())
        priority = PRIORITIES.get(record.levelno, PRIORITIES[logging.ERROR])
        text = f"{record.getMessage()}{tail}".replace("\n", " ")
        return f"<{priority}>{text}"


def send_logs() -> None:
    """In a worker: write what our loggers say to stderr, where the node reads it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RelayFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("skerry").setLevel(logging.DEBUG)


def parse(line: str) -> tuple[int, str]:
    """Level and text of a line; what has no level came from elsewhere, and is a warning."""
    prefix = PREFIX.match(line)
    if prefix is None:
        return logging.WARNING, line
    return LEVELS.get(int(prefix[1]), logging.WARNING), line[prefix.end() :]
