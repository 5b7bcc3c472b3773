"""Formats counts, sizes and durations for people."""

from typing import Final

_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")


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
