"""Predicts which frames a reader takes next: a region of a slide is a few frames from each row of tiles."""

from typing import Final

_MOST_ROWS: Final = 8  # prefetched at once, besides the current one


class FramePrefetch:
    """The order in which frames are read: runs of neighbours at a constant distance are rows of tiles.

    After a run of several frames, one jump predicts a further row. After single frames, the prediction needs
    two equal jumps, because random access jumps too. Threads may share an instance; mixed-up notes only make
    predictions worse.
    """

    def __init__(self) -> None:
        self._first = self._last = 0
        self._jump = self._equal_jumps = 0
        self._length = 1

    def note(self, number: int) -> None:
        """Record that a frame, numbered from 1, was read."""
        if number in (self._last, self._last + 1):
            self._last = number
            return
        jump, length = number - self._first, self._last - self._first + 1
        self._equal_jumps = self._equal_jumps + 1 if (jump, length) == (self._jump, self._length) else 0
        self._jump, self._length = jump, length
        self._first = self._last = number

    def rows(self, number: int, frames: int) -> list[tuple[int, int]]:
        """The runs of frames to fetch before a frame is read, starting with the run of that frame.

        Args:
            number: The frame's number, from 1.
            frames: The number of frames in the object.

        Returns:
            First and last frame number of each run; empty without a prediction.
        """
        jump, length = number - self._first, self._last - self._first + 1
        if not self._first or number in (self._last, self._last + 1) or jump < length:
            return []
        if (jump, length) == (self._jump, self._length):
            more = min(2 ** (self._equal_jumps + 1), _MOST_ROWS)
        else:
            more = int(length > 1)
        firsts = range(number, frames + 1, jump)[: more + 1]
        return [(first, min(first + length - 1, frames)) for first in firsts] if more else []
