"""Logging to stderr, as text for people or JSON for machines."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import msgspec

LEVELS = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record`; its `fields` (a dict) are merged in."""
        entry: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


class TextFormatter(logging.Formatter):
    """`12:00:01 info  skerry.index: message key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record`; its `fields` (a dict) follow the message."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = getattr(record, "fields", {})
        tail = "".join(f" {name}={value}" for name, value in fields.items())
        line = f"{clock} {record.levelname.lower():7} {record.name}: {record.getMessage()}{tail}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logging(level: str = "info", *, format: str = "text") -> None:
    """Send all loggers to stderr in one form: ours from `level` on, the libraries' warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("skerry").setLevel(level.upper())
    # It warns of every malformed form: the client is told, and could fill our disk with it.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
