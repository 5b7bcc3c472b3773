"""Runs a query in a thread, so that Ctrl-C can stop it and a terminal can show its progress."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import IO, Any, Final

import duckdb

_BAR_AFTER_SECONDS: Final = 1.0  # most queries end before
_POLL_SECONDS: Final = 0.1
# An interrupted query ends within moments, but a blocked pipe can hold the thread without end.
_STOPPING_SECONDS: Final = 5.0


def run_watched(connection: duckdb.DuckDBPyConnection, work: Callable[[Callable[[], None]], None]) -> None:
    """Run a function that uses a connection, in a thread; this thread shows a bar and handles Ctrl-C.

    Args:
        connection: The connection; it is interrupted on Ctrl-C.
        work: Takes a function that hides the bar, to call before the first output. Its exception is raised
            here.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and the query is stopped.
    """
    watched = _WatchedQuery()

    def run() -> None:
        try:
            work(watched.hide_bar)
        except BaseException as error:  # noqa: BLE001  raised in the other thread
            watched.raised = error
        finally:
            watched.ended.set()

    # A daemon thread, because it may be blocked by a pipe when the program exits.
    Thread(target=run, daemon=True).start()
    try:
        if sys.stderr.isatty():
            watched.show_bar(connection)
        while not watched.ended.wait(_POLL_SECONDS):
            pass
    except KeyboardInterrupt:
        connection.interrupt()
        watched.ended.wait(_STOPPING_SECONDS)
        raise
    if watched.raised is not None:
        raise watched.raised


class BarHidingStream:
    """A text stream that hides the bar before the first text.

    Args:
        stream: The stream to write to.
        hide_bar: From `run_watched`.
    """

    def __init__(self, stream: IO[str], hide_bar: Callable[[], None]) -> None:
        self._stream = stream
        self._hide_bar = hide_bar

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text."""
        self._hide_bar()
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        """Write texts one by one."""
        for line in lines:
            self.write(line)


@dataclass(slots=True)
class _WatchedQuery:
    """The state that the working thread and the watching thread share."""

    writing: Event = field(default_factory=Event)
    ended: Event = field(default_factory=Event)
    terminal: Lock = field(default_factory=Lock)
    raised: BaseException | None = None

    def hide_bar(self) -> None:
        """Return when there is no bar, and none will be shown."""
        if not self.writing.is_set():
            self.writing.set()
            with self.terminal:
                pass

    def show_bar(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Show a bar until the first output; none if that comes soon."""
        begun = time.monotonic()
        while time.monotonic() < begun + _BAR_AFTER_SECONDS:
            if self.ended.wait(_POLL_SECONDS):
                return
        from rich.console import Console  # noqa: PLC0415  most queries show no bar
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (TextColumn("query"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with self.terminal:
            if self.writing.is_set():
                return
            with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task("query", total=None)
                while not self.writing.is_set() and not self.ended.wait(_POLL_SECONDS):
                    percent = connection.query_progress()
                    if percent > 0:  # else DuckDB does not know yet
                        bar.update(task, completed=min(percent, 100.0), total=100.0)
