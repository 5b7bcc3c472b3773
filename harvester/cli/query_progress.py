"""Runs a query where Ctrl-C can stop it, and shows on a terminal how far it is."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Final

import duckdb
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

# Most queries are done before a bar would be more than a flicker.
_BAR_AFTER_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.1
# A query ends within moments of being stopped, but who reads our output may keep us for ever.
_STOPPING_SECONDS: Final = 5.0


def run_watched(connection: duckdb.DuckDBPyConnection, work: Callable[[Callable[[], None]], None]) -> None:
    """Do work with a connection in a thread, so that this one can show a bar and hear Ctrl-C.

    Args:
        connection: What the work asks; it is interrupted on Ctrl-C.
        work: Takes a function to call before anything is written to the terminal: the bar is gone
            then. Whatever the work raises is raised here.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and the query is stopped.
    """
    watched = _Watched()

    def run() -> None:
        try:
            work(watched.hide_bar)
        except BaseException as error:  # noqa: BLE001  it is the other thread's to handle
            watched.raised = error
        finally:
            watched.ended.set()

    # Not waited for at exit: it may be writing to a pipe that nobody reads.
    Thread(target=run, daemon=True).start()
    try:
        if sys.stderr.isatty():
            watched.show_bar(connection)
        while not watched.ended.wait(_LOOK_SECONDS):
            pass
    except KeyboardInterrupt:
        connection.interrupt()
        watched.ended.wait(_STOPPING_SECONDS)
        raise
    if watched.raised is not None:
        raise watched.raised


@dataclass(slots=True)
class _Watched:
    """What the thread that works and the one that watches tell each other."""

    writing: Event = field(default_factory=Event)
    ended: Event = field(default_factory=Event)
    terminal: Lock = field(default_factory=Lock)
    raised: BaseException | None = None

    def hide_bar(self) -> None:
        """Return when there is no bar, nor will be one."""
        self.writing.set()
        with self.terminal:
            pass

    def show_bar(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Show a bar until something is written; or none, where that is soon."""
        begun = time.monotonic()
        while time.monotonic() < begun + _BAR_AFTER_SECONDS:
            if self.ended.wait(_LOOK_SECONDS):
                return
        columns = (TextColumn("query"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with self.terminal:
            if self.writing.is_set():
                return
            with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task("query", total=None)
                while not self.writing.is_set() and not self.ended.wait(_LOOK_SECONDS):
                    percent = connection.query_progress()
                    if percent > 0:  # else DuckDB cannot tell, or not yet
                        bar.update(task, completed=min(percent, 100.0), total=100.0)
