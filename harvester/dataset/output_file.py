"""A local file for output that replaces an earlier one when it is whole, and not after an error."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from harvester.errors import ConfigError, HarvesterError


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
    given = f"{option}: {path}" if option else f"{path}"
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
