"""An interactive prompt for SQL: history, completion of names, and a few commands of its own."""

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final, cast

import duckdb
import typer
from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from harvester.errors import HarvesterError
from harvester.messages import one_line, printable
from harvester.query import Format

HELP: Final = """\
A query ends with a semicolon and may have several lines; Tab completes names, Ctrl-C stops a query.
.tables             list the tables
.columns            list the columns of instances
.columns WORD       list those with WORD in their name; * matches any letters, ? one letter
.columns TABLE      list the columns of another table
.mode FORMAT        print results as table, line (one whole value a line), csv or json
.help               show this help
.quit               end the session, as Ctrl-D does
Also: \\d, \\d TABLE, \\q, help, quit, exit."""

_WORDS: Final = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "DISTINCT", "count", "AS"),
    *("JOIN", "LEFT JOIN", "USING", "UNNEST", "WITH", "ILIKE", "BETWEEN", "IS NULL", "IS NOT NULL", "DESC"),
)
_COMMANDS: Final = (".columns", ".help", ".mode", ".quit", ".tables")
# What people type who come from other clients.
_ALIASES: Final = {
    **dict.fromkeys(("help", "\\?", "\\h"), ".help"),
    **dict.fromkeys(("quit", "exit", "\\q", ".exit"), ".quit"),
    "\\dt": ".tables",
}
_MODES: Final = ("table", "line", "csv", "json")
_LONGEST_TYPE: Final = 60


class Names:
    """The tables of a connection and their columns, read at the first use."""

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
        """All completions, columns first."""
        columns = {
            name for table in ("instances", "frames", "failures", "series") for name, _ in self.columns(table)
        }
        return [*sorted(columns), *self.tables, *_WORDS]


class NameCompleter(Completer):
    """Completes the word before the cursor to columns, tables and SQL keywords, in any letter case."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterator[Completion]:
        """The completions of the word."""
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


def run_prompt(
    connection: duckdb.DuckDBPyConnection,
    run: Callable[[str, Format], None],
    form: Format = "table",
) -> None:
    """Read queries from the terminal and run them until `.quit` or Ctrl-D.

    Args:
        connection: From `open_dataset`.
        run: Runs one query and prints its result in a format. Its errors are printed; Ctrl-C stops it only.
        form: The format of the results until `.mode` names another.
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
    typer.echo(f"{len(names.tables)} tables; .help lists the commands")
    while True:
        try:
            text = session.prompt().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        text = as_command(text)
        if text == ".quit":
            return
        try:
            if text.startswith(".mode"):
                form = chosen_format(text, form)
            elif text.startswith("."):
                typer.echo(printable(_run_command(text, names), keep="\n"))
            elif text.strip("; \n"):
                run(text, form)
        except KeyboardInterrupt:
            typer.echo("stopped")
        except (HarvesterError, duckdb.Error) as error:
            typer.echo(f"harvester: {printable(one_line(error))}")


def as_command(text: str) -> str:
    """A text with the other clients' names of commands replaced by the prompt's own."""
    typed = text.rstrip("; \n")
    if typed.startswith("\\d") and typed[2:3] in {"", " "}:
        table = typed[2:].strip()
        return f".columns {table}" if table else ".tables"
    known = _ALIASES.get(typed.lower())
    return known or (typed.lower() if typed.lower() in _COMMANDS else text)


def chosen_format(command: str, form: Format) -> Format:
    """The format that `.mode FORMAT` names; an unknown one is printed, and the format stays."""
    name = command.removeprefix(".mode").strip("; ")
    if name in _MODES:
        return cast("Format", name)
    typer.echo(f".mode {printable(name)}: one of {', '.join(_MODES)}; it is {form}")
    return form


def _keys() -> KeyBindings:
    """Enter runs a command, or a query that ends with a semicolon; else it starts a new line."""
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer: Buffer = event.current_buffer
        if is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


def is_complete(text: str) -> bool:
    """Whether a text ends with a semicolon, is a command or is empty."""
    text = text.strip()
    return not text or text.endswith(";") or as_command(text).startswith((".", "\\"))


def _run_command(command: str, names: Names) -> str:
    word, _, rest = command.rstrip("; ").partition(" ")
    if word == ".tables":
        return "\n".join(names.tables)
    if word == ".columns":
        return _columns(rest.strip(), names)
    return HELP if word == ".help" else f"{word}: unknown command; .help lists the commands"


def _columns(pattern: str, names: Names) -> str:
    table = pattern if pattern in names.tables else "instances"
    wanted = "*" if table == pattern else (pattern if set(pattern) & set("*?") else f"*{pattern}*")
    found = [
        (name, kind)
        for name, kind in names.columns(table)
        if fnmatch.fnmatchcase(name.lower(), wanted.lower())
    ]
    if not found:
        return f"no column of {table} matches {pattern}"
    width = max(len(name) for name, _ in found)
    return "\n".join(f"{name.ljust(width)}  {_shortened(kind)}" for name, kind in found)


def _shortened(kind: str) -> str:
    return kind if len(kind) <= _LONGEST_TYPE else f"{kind[: _LONGEST_TYPE - 1]}…"


def _history() -> History:
    """The queries of earlier sessions, in the state folder of the XDG Base Directory Specification."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    file = folder / "harvester" / "sql_history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)
