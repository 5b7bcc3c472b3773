"""The text of docs/commands.md, which scripts/reference_pages.py writes.

It reads what the commands declare, which `--help` shows too, and not how one version of typer lays it out.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo, ParameterInfo

from harvester.cli import application

INTRODUCTION = """\
# Commands

<!-- Written by scripts/reference_pages.py from what the commands declare: change them, then run it. -->
"""
KINDS = {int: "NUMBER", float: "NUMBER", Path: "PATH", str: "TEXT"}


def command_reference() -> str:
    """The page, in Markdown."""
    app = application()
    parts = [INTRODUCTION, f"{app.info.help}\n", f"{app.info.epilog}\n", "Before the command's name:\n"]
    if app.registered_callback is not None:
        parts.append(_table(_parameters(app.registered_callback.callback)))
    for command in app.registered_commands:
        parameters = _parameters(command.callback)
        needed = " ".join(filter(None, (one.usage for one in parameters)))
        parts.append(f"## harvester {command.name}\n")
        parts.append(f"```\n{' '.join(f'harvester {command.name} {needed}'.split())} [OPTIONS]\n```\n")
        parts.append(f"{inspect.getdoc(command.callback)}\n")
        parts.append(_table(parameters))
        parts.append(f"{command.epilog}\n")
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument or option: how the usage line shows it, if at all, its spellings and its meaning."""

    usage: str
    spellings: str
    meaning: str


def _parameters(callback: Callable[..., Any] | None) -> list[Parameter]:
    if callback is None:
        return []
    hints = get_type_hints(callback, include_extras=True)
    return [_parameter(one, hints[one.name]) for one in inspect.signature(callback).parameters.values()]


def _parameter(declared: inspect.Parameter, hint: Any) -> Parameter:
    kind, info = get_args(hint) if get_origin(hint) is Annotated else (hint, None)
    if not isinstance(info, ArgumentInfo | OptionInfo):
        raise TypeError(f"{declared.name}: expected Annotated[..., typer.Option(...)] or Argument")
    kind = (
        next((one for one in get_args(kind) if one is not NoneType), kind)
        if NoneType in get_args(kind)
        else kind
    )
    required = declared.default is inspect.Parameter.empty
    value = info.metavar or KINDS.get(kind, "WORD")
    if isinstance(info, ArgumentInfo):
        names = [""]
    else:
        # Within Annotated, typer takes the first name where it otherwise takes a default.
        names = [str(name) for name in (info.default, *(info.param_decls or ())) if str(name).startswith("-")]
        option = declared.name.replace("_", "-")
        both = [f"--{option}", f"--no-{option}"] if kind is bool and declared.default else [f"--{option}"]
        names = sorted(names or both, key=len)
    value = "" if kind is bool else value
    spelling, spellings = (f"{name} {value}".strip() for name in (names[0], ", ".join(names)))
    if not required:
        spelling = f"[{spelling.strip('[]')}]" if isinstance(info, ArgumentInfo) else ""
    return Parameter(spelling, spellings, " ".join(_sentences(declared, kind, info)))


def _sentences(declared: inspect.Parameter, kind: Any, info: ParameterInfo) -> Iterator[str]:
    yield str(info.help)
    if get_origin(kind) is Literal:
        yield f"One of {', '.join(f'`{word}`' for word in get_args(kind))}."
    if declared.default is inspect.Parameter.empty:
        yield "Required."
    elif declared.default is True:
        yield f"Default: `--{declared.name.replace('_', '-')}`."
    elif declared.default not in (None, False, ""):
        yield f"Default: `{declared.default}`."


def _table(parameters: list[Parameter]) -> str:
    rows = []
    for one in parameters:
        spellings = one.spellings.replace("|", "\\|")  # a bar ends a cell
        rows.append(f"| `{spellings}` | {one.meaning} |")
    return "\n".join(["| | |", "|---|---|", *rows, ""])
