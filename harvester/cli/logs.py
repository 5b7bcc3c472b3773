"""Log lines on stderr: text, or one JSON object a line."""

import json
import logging
from datetime import UTC, datetime
from enum import StrEnum

from harvester.messages import printable


class LogFormat(StrEnum):
    """The form of a log line."""

    TEXT = "text"
    JSON = "json"


class TextFormatter(logging.Formatter):
    """A line of text on which a terminal cannot act."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        return printable(super().format(record), keep="\n")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`; `facts` and `exception` if present."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts = getattr(record, "facts", None)
        if facts:
            line["facts"] = facts
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as(form: LogFormat) -> None:
    """Set the form of all log lines from now on."""
    if form is LogFormat.JSON:
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())
