"""Log lines on stderr: text, or one JSON object a line; output in any encoding."""

import codecs
import io
import json
import logging
import sys
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


def print_any_text() -> None:
    """Let stdout and stderr write characters that their encoding lacks as JSON's escapes.

    That is so on Windows, in files and pipes (cp1252), and where PYTHONIOENCODING says so.
    """

    def escaped(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        return json.dumps(error.object[error.start : error.end])[1:-1], error.end

    codecs.register_error("harvester_escape", escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not codecs.lookup(stream.encoding).name.startswith("utf"):
            stream.reconfigure(errors="harvester_escape")


def log_as(form: LogFormat) -> None:
    """Set the form of all log lines from now on."""
    if form is LogFormat.JSON:
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())


def print_error(message: str) -> None:
    """Print why the program ends, in the form of the log lines."""
    if any(isinstance(one.formatter, JsonFormatter) for one in logging.getLogger().handlers):
        logging.getLogger("harvester").error("%s", message)
    else:
        sys.stderr.write(f"harvester: {printable(message)}\n")
