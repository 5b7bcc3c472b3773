"""The program `harvester`: its commands and its exit statuses."""

import ast
import errno
import gc
import io
import locale
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.resources import files
from typing import Annotated, Any, Final

import typer

from harvester.cli.logs import TextFormatter, print_any_text, print_error
from harvester.engine.workers.memory import keep_small
from harvester.errors import DatasetBusyError, HarvesterError, HarvestError, UserError
from harvester.messages import invalid_value, one_line, printable
from harvester.model import VERSION

DONE: Final = 0
BUG: Final = 1
USAGE: Final = 2
SOME_FAILED: Final = 3
INTERRUPTED: Final = 130

_DISK_IS_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# typer has its own copy of click, and does not export the base class of usage errors.
_USAGE_ERROR: Final[Any] = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")

_COMPLETION: Final = "_HARVESTER_COMPLETE"  # set by the shell while it completes a command line

# In the order of the help; each is a module of this package with `command` and `EPILOG`.
_COMMANDS: Final = (
    "init",
    "config",
    "catalog",
    "crawl",
    "plan",
    "sql",
    "index",
    "audit",
    "report",
    "conformance",
    "header",
    "frames",
    "compact",
    "diff",
    "prune",
    "repair",
    "schedule",
    "demo",
    "doctor",
    "mcp",
)


def application(arguments: Sequence[str] | None = None) -> typer.Typer:
    """The program with all of its commands, or only the one that is called, which starts faster.

    Args:
        arguments: The command line, without the program's name; None loads every command. Without a command
            its list is all that is needed: the commands are then known by name and help only.
    """
    app = typer.Typer(
        name="harvester",
        help="Reads DICOM headers from cloud buckets, and writes them as Parquet that SQL can query.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=(
            "Exit status: 0 done; 1 a bug; 2 the configuration or the command line is wrong; "
            "3 some objects failed (they are in `failures`), or an audit found violations; "
            "130 interrupted, what was committed stays."
        ),
    )
    called = _called(arguments or ())
    listed = arguments is not None and called not in _COMMANDS and _COMPLETION not in os.environ
    for name in (called,) if called in _COMMANDS else _COMMANDS:
        if listed:
            app.command(name, help=_help(name))(lambda: None)
            continue
        module = import_module(f"harvester.cli.{name}")
        app.command(name, epilog=module.EPILOG)(module.command)
    app.callback()(_options)
    return app


def _help(name: str) -> str | None:
    """The help of a command, read from its source without importing it."""
    source = files("harvester.cli").joinpath(f"{name}.py").read_text(encoding="utf-8")
    functions = (one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef))
    return ast.get_docstring(next(one for one in functions if one.name == "command"))


def _called(arguments: Sequence[str]) -> str | None:
    return next((word for word in arguments if not word.startswith("-")), None)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer's callbacks take the value
    if wanted:
        typer.echo(f"harvester {VERSION}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more on stderr.")] = False,
) -> None:
    del version  # its callback has printed it
    level = logging.DEBUG if verbose else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("harvester").setLevel(level)
    # pydicom warns about each invalid value; here they are entries of `invalid_elements`.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    # sqlglot warns about each statement that it leaves as it is; harvester raises an error for those.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)


def main(busy: int = USAGE) -> None:
    """Run the program and exit.

    Args:
        busy: The exit status if another process is writing the dataset; a schedule needs to know.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the locale lacks is written escaped
            stream.reconfigure(errors="backslashreplace")
    if sys.platform != "win32" and not locale.getencoding().lower().startswith("utf"):
        with suppress(locale.Error):  # packages read their text files, which are UTF-8, as the locale says
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    sys.exit(_status(busy))


def _status(busy: int) -> int:  # noqa: PLR0911  one for each exit status
    print_any_text()
    if _called(sys.argv[1:]) == "crawl":
        keep_small()
    try:
        gc.disable()  # modules that are loaded stay: looking for garbage among them slows down a start
        program = application(sys.argv[1:])
        gc.freeze()
        gc.enable()
        status = program(standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe is not a bug
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except UserError as error:
        print_error(str(error))
        return busy if isinstance(error, DatasetBusyError) else USAGE
    except HarvestError as error:
        print_error(f"{error} ({error.reason})")
        return SOME_FAILED
    except HarvesterError as error:
        print_error(str(error))
        return BUG
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(
            end.__context__, BrokenPipeError
        ):  # raised by typer
            raise
        # The reader closed the pipe (`harvester sql ... | head`).
        _drop_output()
        return DONE
    except _USAGE_ERROR as error:
        _print_usage_error(error)
        return USAGE
    except Exception as error:  # noqa: BLE001  any other exception is a bug
        return _unexpected(error)
    return status if isinstance(status, int) else DONE


def _unexpected(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:  # for example `> file`
        _drop_output()
        print_error(f"the output cannot be written: {error.strerror}")
        return USAGE
    sys.stderr.write(printable(traceback.format_exc(), keep="\n"))
    print_error("this is a bug in harvester; please report it with the lines above")
    return BUG


def _drop_output() -> None:
    """Let Python's last flush of stdout go nowhere: it would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_usage_error(error: Any) -> None:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # nothing is wrong: print the help
        error.show()
        return
    names: list[str] = []
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    if type(error.__cause__).__name__ == "ValidationError":
        error.message = invalid_value(error.__cause__)
    message = one_line(error.format_message())
    stop = "" if message.endswith((".", "?", ")")) else "."
    print_error(f"{message}{stop} See `{' '.join(['harvester', *names])} --help`.")
