"""A text stream that says when it is about to be written to for the first time."""

from collections.abc import Callable, Iterable
from typing import IO, Any


class AnnouncedStream:
    """Passes everything on to a stream, and calls a function before the first text.

    Args:
        stream: What is written to.
        announce: Is called once.
    """

    def __init__(self, stream: IO[str], announce: Callable[[], None]) -> None:
        self._stream = stream
        self._announce: Callable[[], None] | None = announce

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text."""
        if self._announce is not None:
            self._announce()
            self._announce = None
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts as they come."""
        for line in lines:
            self.write(line)
