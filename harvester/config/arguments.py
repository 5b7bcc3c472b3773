"""Checks arguments of the public functions, with the messages of a configuration."""

from collections.abc import Collection
from numbers import Integral

from harvester.errors import ConfigError


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Check an argument that is one of some words.

    Raises:
        ConfigError: It is none of them.
    """
    if value not in choices:
        raise ConfigError(f"{name}={value!r}: it is one of {', '.join(choices)}")


def check_count(name: str, value: object) -> None:
    """Check an argument that is a number from 1 on, or None.

    Raises:
        ConfigError: It is neither.
    """
    if value is not None and not (isinstance(value, Integral) and int(value) >= 1):
        raise ConfigError(f"{name}={value!r}: expected a whole number, at least 1")
