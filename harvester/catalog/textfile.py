"""Reads text files of users line by line, within bounds."""

from collections.abc import Iterator
from pathlib import Path

from harvester.errors import ConfigError

MAX_LINE_BYTES = 16 * 1024
"""A key has at most 1,024 bytes on S3 and GCS; the rest is for a command and a folder."""

MAX_LINES = 20_000_000


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The stripped lines that are neither empty nor a `#` comment, with their numbers from 1.

    Raises:
        ConfigError: The file cannot be read, is not UTF-8, or has too many or too long lines.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(raw) > MAX_LINE_BYTES or number > MAX_LINES:
                    raise ConfigError(f"{path}:{number}: too long for a list of objects")
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if text and not text.startswith("#"):
                    yield number, text
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}:{number}: not UTF-8 text") from None
