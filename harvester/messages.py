"""Words messages: the nearest valid names to a misspelt one, and all of it on one line."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """The options that look most like a name, best first, whatever their case."""
    spelt: dict[str, str] = {}
    for option in options:
        spelt.setdefault(option.lower(), option)
    return [spelt[match] for match in get_close_matches(name.lower(), list(spelt), n=count, cutoff=0.55)]


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """The tail of a message about a misspelt name: the nearest valid ones, or all where they are few."""
    options = list(options)
    close = nearest(name, options)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; valid: {', '.join(options)}" if options and len(options) <= 16 else ""


def one_line(text: str) -> str:
    """The text on one line, as a message has to be."""
    return " ".join(text.split())
