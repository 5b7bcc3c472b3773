"""The program `harvester`: its commands, and what its exit status means."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer

from harvester import __version__
from harvester.engine.workers.memory import keep_small
from harvester.errors import DatasetBusyError, HarvesterError, HarvestError, UserError

DONE: Final = 0
BUG: Final = 1
USAGE: Final = 2
SOME_FAILED: Final = 3
INTERRUPTED: Final = 130

# typer carries its own copy of click, and does not name the error that all usage errors share.
_USAGE_ERROR: Final[Any] = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")

# In the order of the help; each is a module of this package.
_COMMANDS: Final = (
    "crawl",
    "plan",
    "sql",
    "index",
    "audit",
    "report",
    "header",
    "frames",
    "compact",
    "diff",
    "prune",
    "schedule",
    "demo",
)


def application(arguments: Sequence[str] = ()) -> typer.Typer:
    """The program with all of its commands, or with the one that is called.

    Loading what all commands need takes longer than most answers do.

    Args:
        arguments: The command line, without the program's name.
    """
    app = typer.Typer(
        name="harvester",
        help=(
            "Reads the headers of DICOM objects where they lie, and turns them into Parquet that answers SQL."
        ),
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
    called = _called(arguments)
    for command in (called,) if called in _COMMANDS else _COMMANDS:
        import_module(f"harvester.cli.{command}").add_to(app)
    app.callback()(_options)
    return app


def _called(arguments: Sequence[str]) -> str | None:
    return next((word for word in arguments if not word.startswith("-")), None)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer's callbacks take the value
    if wanted:
        typer.echo(f"harvester {__version__}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
) -> None:
    del version  # its callback has answered
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("harvester").setLevel(level)
    # pydicom warns of each odd value in the files it reads; for us they are rows in `invalid_elements`.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    # sqlglot warns of each statement that it leaves as it is; what it cannot translate is an error of ours.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)


def main(busy: int = USAGE) -> None:
    """Run the program and exit with the status of the contract.

    Args:
        busy: The status where another process is writing the dataset: a schedule tells it from a mistake.
    """
    sys.exit(_status(busy))


def _status(busy: int) -> int:  # noqa: PLR0911  one line for each kind of end
    if _called(sys.argv[1:]) == "crawl":
        keep_small()
    try:
        status = application(sys.argv[1:])(standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that has gone is no bug
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except UserError as error:
        _say(str(error))
        return busy if isinstance(error, DatasetBusyError) else USAGE
    except HarvestError as error:
        _say(f"{error} ({error.reason})")
        return SOME_FAILED
    except HarvesterError as error:
        _say(str(error))
        return BUG
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):  # typer's answer
            raise
        # The reader of a pipe has seen enough (`harvester sql ... | head`); Python must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except _USAGE_ERROR as error:
        _say_usage(error)
        return USAGE
    except Exception:  # noqa: BLE001  whatever is left is a bug, and says so
        traceback.print_exc()
        _say("this is a bug in harvester; please report it with the lines above")
        return BUG
    return status if isinstance(status, int) else DONE


def _say_usage(error: Any) -> None:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # nothing was said wrong: the help is the answer
        error.show()
        return
    names: list[str] = []
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    message = " ".join(error.format_message().split())
    _say(f"{message} Say `{' '.join(['harvester', *names])} --help` for its usage.")


def _say(message: str) -> None:
    sys.stderr.write(f"harvester: {message}\n")
