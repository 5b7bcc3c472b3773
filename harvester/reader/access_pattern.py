"""Guesses which frames a reader takes next: a region of a slide is a few from each row of tiles."""

from typing import Final

_MOST_ROWS: Final = 8  # fetched at once, besides the one that is read


class AccessPattern:
    """The order in which frames are read: runs of neighbours, at a constant distance where they are rows.

    A reader of a region reads some neighbours, leaps to the next row, reads as many there, and so on. One
    leap from a run of several frames is taken for such a row; leaps from single frames only if they are
    equal, because frames at random places are read by leaps, too. Threads may share one: whatever they
    mix up is a guess that is worse.
    """

    def __init__(self) -> None:
        self._first = self._last = 0
        self._leap = self._alike = 0
        self._length = 1

    def note(self, number: int) -> None:
        """A frame, by its number from 1, is read."""
        if number in (self._last, self._last + 1):
            self._last = number
            return
        leap, length = number - self._first, self._last - self._first + 1
        self._alike = self._alike + 1 if (leap, length) == (self._leap, self._length) else 0
        self._leap, self._length = leap, length
        self._first = self._last = number

    def rows(self, number: int, frames: int) -> list[tuple[int, int]]:
        """The runs to fetch when a frame is about to be read, its own first.

        Args:
            number: The frame's, from 1.
            frames: How many there are.

        Returns:
            First and last frame of each; none where nothing can be guessed.
        """
        leap, length = number - self._first, self._last - self._first + 1
        if not self._first or number in (self._last, self._last + 1) or leap < length:
            return []
        if (leap, length) == (self._leap, self._length):
            more = min(2 ** (self._alike + 1), _MOST_ROWS)
        else:
            more = int(length > 1)
        firsts = range(number, frames + 1, leap)[: more + 1]
        return [(first, min(first + length - 1, frames)) for first in firsts] if more else []
