"""What a walk over a data set answers: which bytes it needs, or where it ended."""

from typing import NamedTuple


class NeedMore(NamedTuple):
    """The walk goes on when the bytes from `start` up to at least `stop` have been fed.

    `last` says that these are all that is missing: reading ahead would be in vain.
    """

    start: int
    stop: int
    last: bool = False


class Stopped(NamedTuple):
    """The walk ended in front of the element at `offset`, or at the end of the object (`tag` None).

    `length` is the element's value length and `value_offset` where its value starts.
    """

    offset: int
    tag: int | None = None
    vr: str | None = None
    value_offset: int = 0
    length: int = 0
