"""A local file for output that replaces an earlier one when it is whole, and not after an error."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from harvester.errors import ConfigError, HarvesterError


def require_writable(path: Path, *, option: str = "") -> None:
    """Check that a file can be written, before the work whose result goes there; it stays as it is.

    Args:
        path: The file.
        option: What names it on the command line.

    Raises:
        ConfigError: It can't be written.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.is_file() or not target.exists():
            TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise ConfigError(f"{_given(path, option)}: {error.strerror or error}") from error


def _given(path: Path, option: str) -> str:
    return f"{option}: {path}" if option else f"{path}"


@contextmanager
def replaced_file(path: Path, *, binary: bool = False, option: str = "") -> Iterator[IO[Any]]:
    """Open a file to write that replaces the one of that name when the block ends, and not after an error.

    What is not a regular file, such as a pipe, is written directly.

    Args:
        path: The file.
        binary: Whether it is a binary file; else it is text in UTF-8.
        option: What names it on the command line.

    Raises:
        ConfigError: The file can't be written.
    """
    given = _given(path, option)
    unfinished = None
    try:
        path = Path(os.path.realpath(path))
        if path.is_file() or not path.exists():
            unfinished = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
        target = unfinished or path
        with target.open("wb") if binary else target.open("w", encoding="utf-8") as stream:
            yield stream
        if unfinished is not None:
            if path.exists():
                unfinished.chmod(path.stat().st_mode)
            unfinished.replace(path)
    except HarvesterError:  # some of these are an OSError, too
        raise
    except OSError as error:
        raise ConfigError(f"{given}: {error.strerror or error}") from error
    finally:
        if unfinished is not None:
            with suppress(OSError):  # the folder can't be written, which the first error says
                unfinished.unlink(missing_ok=True)
