"""An interactive prompt for SQL: history, completion of names, and a few commands of its own."""

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

import duckdb
import typer
from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from harvester.errors import HarvesterError

HELP: Final = """\
A query ends with a semicolon and can take several lines; Tab completes names, Ctrl-C stops a query.
.tables             the tables there are
.columns            the columns of instances
.columns WORD       those that have WORD in their name; * and ? stand for any letters, and for one
.columns TABLE      the columns of another table
.help               this
.quit               the end, as Ctrl-D is"""

_WORDS: Final = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "DISTINCT", "count", "AS"),
    *("JOIN", "LEFT JOIN", "USING", "UNNEST", "WITH", "ILIKE", "BETWEEN", "IS NULL", "IS NOT NULL", "DESC"),
)
_COMMANDS: Final = (".columns", ".help", ".quit", ".tables")
_MAXIMUM_TYPE: Final = 60


class Names:
    """The tables of a connection and their columns, looked up when they are first asked for."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    @cached_property
    def tables(self) -> list[str]:
        """The names of all tables, in order."""
        rows = self._connection.execute("SHOW TABLES").fetchall()
        return sorted(str(name) for name, *_ in rows)

    def columns(self, table: str) -> list[tuple[str, str]]:
        """The names and types of a table's columns, in order."""
        rows = self._connection.execute(f'DESCRIBE "{table}"').fetchall()
        return [(str(name), str(kind)) for name, kind, *_ in rows]

    @cached_property
    def words(self) -> list[str]:
        """All that can be completed to, in any case of letters: columns first."""
        columns = {
            name for table in ("instances", "frames", "failures", "series") for name, _ in self.columns(table)
        }
        return [*sorted(columns), *self.tables, *_WORDS]


class NameCompleter(Completer):
    """Completes the word before the cursor to names of columns and tables, and to SQL's words."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterator[Completion]:
        """Name what the word can become."""
        if document.text.startswith("."):
            words: Iterable[str] = _COMMANDS
            typed = document.text_before_cursor
        else:
            found = re.search(r"\w+$", document.text_before_cursor)
            typed = found.group() if found else ""
            words = self._names.words if typed else ()
        for word in words:
            if word.lower().startswith(typed.lower()):
                yield Completion(word, start_position=-len(typed))


def run_prompt(connection: duckdb.DuckDBPyConnection, answer: Callable[[str], None]) -> None:
    """Read queries from the terminal until the end, and answer them.

    Args:
        connection: From `open_dataset`.
        answer: Runs one query and writes its answer; its errors are said, and Ctrl-C ends only it.
    """
    names = Names(connection)
    session: PromptSession[str] = PromptSession(
        "harvester> ",
        multiline=True,
        prompt_continuation=lambda width, _line, _wrapped: "... ".rjust(width),
        key_bindings=_keys(),
        completer=NameCompleter(names),
        complete_while_typing=False,
        history=_history(),
    )
    typer.echo(f"{len(names.tables)} tables; .help says what can be typed")
    while True:
        try:
            text = session.prompt().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text.rstrip("; ").lower() in {".quit", ".exit"}:
            return
        try:
            if text.startswith("."):
                typer.echo(_said(text, names))
            elif text.strip("; \n"):
                answer(text)
        except KeyboardInterrupt:
            typer.echo("stopped")
        except (HarvesterError, duckdb.Error) as error:
            typer.echo(f"harvester: {' '.join(str(error).split())}")


def _keys() -> KeyBindings:
    """Enter ends a query that has its semicolon, or a command; else it begins a line."""
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer: Buffer = event.current_buffer
        if is_whole(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


def is_whole(text: str) -> bool:
    """Whether a text needs no further line: it ends with a semicolon, or is a command, or nothing."""
    text = text.strip()
    return not text or text.endswith(";") or text.startswith(".")


def _said(command: str, names: Names) -> str:
    word, _, rest = command.rstrip("; ").partition(" ")
    if word == ".tables":
        return "\n".join(names.tables)
    if word == ".columns":
        return _columns(rest.strip(), names)
    return HELP if word == ".help" else f"{word} is no command; .help says which there are"


def _columns(pattern: str, names: Names) -> str:
    table = pattern if pattern in names.tables else "instances"
    wanted = "*" if table == pattern else (pattern if set(pattern) & set("*?") else f"*{pattern}*")
    found = [
        (name, kind)
        for name, kind in names.columns(table)
        if fnmatch.fnmatchcase(name.lower(), wanted.lower())
    ]
    if not found:
        return f"no column of {table} is like {pattern}"
    width = max(len(name) for name, _ in found)
    return "\n".join(f"{name.ljust(width)}  {_shortened(kind)}" for name, kind in found)


def _shortened(kind: str) -> str:
    return kind if len(kind) <= _MAXIMUM_TYPE else f"{kind[: _MAXIMUM_TYPE - 1]}…"


def _history() -> History:
    """Queries of earlier times, where the XDG Base Directory Specification puts what is to be remembered."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    file = folder / "harvester" / "sql_history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)
