"""Text for people: nearest valid names, one line, printable on a terminal, counts, sizes, durations."""

import json
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

# The user-info of an address; one with a stray slash, space or question mark in its password, too.
_USER_INFO: Final = re.compile(
    r"([a-z0-9]+://)(?:[^/?\s'\"]*|[^/:@\[\s'\"]*:(?!\d+(?:[/?#:;,)\]\s'\"]|$))[^@\n]*)@", re.IGNORECASE
)
_QUERY: Final = re.compile(r"([a-z0-9]+://[^\s?'\"]+)\?[^\s'\"]+", re.IGNORECASE)

_SECRET_KEYS: Final = ("webhook", "command")
UNLIMITED: Final = 1_000_000
"""The width of a table in a file or a pipe, where no line is cut."""

_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")


def nearest(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """The options most similar to a name, best first, ignoring case."""
    spelt: dict[str, str] = {}
    for option in options:
        spelt.setdefault(option.lower(), option)
    return [spelt[match] for match in get_close_matches(name.lower(), list(spelt), n=count, cutoff=0.55)]


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest valid names, or all if they are few."""
    options = list(options)
    close = nearest(name, options)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; valid: {', '.join(options)}" if options and len(options) <= 16 else ""


def one_line(text: object, longest: int | None = None) -> str:
    """A text, or an error's text, on one line; cut to `longest` characters."""
    return " ".join(str(text).split())[:longest]


def without_secrets(text: str) -> str:
    """A text without the user-info and the query of the addresses in it: they can hold passwords and keys."""
    return _QUERY.sub(r"\1?...", _USER_INFO.sub(r"\1...@", text))


def printable(text: object, keep: str = "") -> str:
    """A text on which a terminal cannot act: control, bidirectional and other format characters are escaped.

    Args:
        text: From a file, a server or a query.
        keep: Characters that stay, such as line ends.
    """
    return "".join(
        letter if letter.isprintable() or letter in keep else ascii(letter)[1:-1] for letter in str(text)
    )


def printable_json(text: str) -> str:
    """The same JSON text with every character escaped on which a terminal can act; line ends stay."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text
    )


_EXPECTED: Final = {
    "bool": "true or false",
    "dataclass": "a table",
    "date": "a date",
    "datetime": "a date and a time",
    "dict": "a table",
    "finite_number": "a finite number",
    "float": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list": "a list",
    "mapping": "a table",
    "model": "a table",
    "set": "a list",
    "string": "a text",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "string_too_long": "a text of at most {max_length} characters",
    "string_too_short": "a text of {min_length} or more characters",
    "too_long": "at most {max_length} items",
    "too_short": "{min_length} or more items",
    "tuple": "a list",
    "typed_dict": "a table",
}
"""What is expected in place of a value, by pydantic's type of error or its first part (`int_parsing`)."""


def _wrong(problem: "ErrorDetails") -> str:
    """What is wrong with a value, without pydantic's terms."""
    kind, context = problem["type"], problem.get("ctx", {})
    expected = _EXPECTED.get(kind) or _EXPECTED.get(re.sub("_(type|parsing|from|exact).*", "", kind))
    if expected is not None:
        return f"expected {expected.format(**context)}"
    return one_line(without_secrets(problem["msg"].removeprefix("Value error, ")))


def first_problem(error: "ValidationError") -> str:
    """The first problem of a record: where it is and what it is, without the value."""
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'text'}: {_wrong(problem)}"


def invalid_value(error: "ValidationError") -> str:
    """What is wrong with a single value, such as that of an option."""
    problem = error.errors(include_url=False)[0]
    wrong = _wrong(problem)
    return wrong if problem["type"] == "value_error" else f"{wrong}, not {short_repr(problem['input'])}"


def invalid_setting(
    error: "ValidationError",
    keys: Callable[[list[str]], Iterable[str]],
    table: str = "",
    noun: str = "key",
) -> str:
    """A problem of a configuration on one line: its dotted key, what is wrong, the nearest names.

    Args:
        error: From pydantic.
        keys: The valid keys of a table, by its location.
        table: The location of what was checked.
        noun: What a key is called.
    """
    problems = error.errors(include_url=False)
    # A key that is missing may be another one that is misspelt.
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    parts = [part for part in problem["loc"] if part != "columns"]
    location = [str(part) for part in parts if not isinstance(part, int)]
    key = ".".join([table, *location] if table else location)
    kind, value, wrong = problem["type"], problem["input"], _wrong(problem)
    if kind == "extra_forbidden":
        of_crawl = not table and noun == "key"
        tables = [one for one in keys([]) if location[-1] in keys([one])] if of_crawl else []
        hint = f"; it belongs to [{tables[0]}]" if tables else did_you_mean(location[-1], keys(location[:-1]))
        return f"{key}: unknown {noun}{hint}"
    if kind == "missing":
        return f"{key}: {'too few values' if isinstance(parts[-1], int) else 'missing'}"
    if kind == "literal_error":
        words = re.findall("'([^']+)'", problem["ctx"]["expected"])
        return f"{key}: {short_repr(value)} is not valid{did_you_mean(str(value), words)}"
    if kind == "value_error":
        return wrong if wrong.startswith(("select", "limits.")) or not key else f"{key}: {wrong}"
    return f"{key}: {wrong}" + ("" if key.endswith(_SECRET_KEYS) else f", not {short_repr(value)}")


def short_repr(value: object) -> str:
    """A value as Python writes it, without secrets of addresses, on one line of at most 60 characters."""
    text = one_line(without_secrets(repr(value)))
    return text if len(text) <= 60 else text[:57] + "..."


DISTRIBUTION = "dicom-harvester"
"""The name on the package index, where `harvester` is another project."""


def pip_install(extra: str) -> str:
    """The command that installs an extra of this distribution."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def count(number: int, noun: str) -> str:
    """`1 instance`, `12,345 instances`, `3 series`, `2 studies`."""
    if number != 1 and not noun.endswith("s"):
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun}"


def size(number: float) -> str:
    """Bytes in decimal units, as clouds bill them: `1.5 GB`."""
    unit = 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number /= 1000
        unit += 1
    return f"{number:,.0f} {_UNITS[unit]}" if unit == 0 or number >= 100 else f"{number:,.1f} {_UNITS[unit]}"


def span(seconds: float) -> str:
    """A duration: `0.8 s`, `3 min 20 s`, `5 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
