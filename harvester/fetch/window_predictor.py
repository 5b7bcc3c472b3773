"""How much of an object to ask for first: learnt from the headers of its series, and of its modality.

The instances of a series have headers of nearly the same length. So the first instance that is read
says how much the others need, and they are asked for just that. What the first one needs is guessed
from the series of the same modality that were read before, and before those from typical lengths.

A header that holds a long binary value is read in several windows, around the value; each of them is
learnt like the first.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from harvester.fetch.typical_headers import OTHER_HEADER, TYPICAL_HEADER, WHOLE_OBJECT

_SIBLINGS: Final = 8  # the last instances of a series count
_SERIES: Final = 4096  # remembered at once
_MEASURED: Final = 32  # the last series of a modality count
_TRUSTED: Final = 6  # series of a modality, from which on its guess is good enough not to wait for a sibling
_ALIKE: Final = 1.3  # how far these may differ
_LONGEST: Final = 4 << 20  # bytes asked for at once, whatever was learnt
_LONGEST_GUESS: Final = 256 << 10  # bytes asked for of a series that none was read of
_PROBE: Final = 1.3  # the first guess errs on the long side: a second request costs more than some bytes


@dataclass(frozen=True, slots=True)
class ObjectTraits:
    """What an object is like before it is read: its series, its modality, and its size in bytes."""

    series: str
    modality: str | None = None
    size: int | None = None


@dataclass(slots=True)
class _Series:
    needs: deque[tuple[int, ...]] = field(default_factory=lambda: deque(maxlen=_SIBLINGS))
    measured: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class _Modality:
    firsts: deque[int] = field(default_factory=lambda: deque(maxlen=_MEASURED))

    def guess(self) -> int:
        """Enough for most series, and never much for the few that need little."""
        return min(_LONGEST_GUESS, sorted(self.firsts)[len(self.firsts) * 9 // 10])

    def is_trusted(self) -> bool:
        """Whether the series were enough, and alike."""
        if len(self.firsts) < _TRUSTED:
            return False
        ordered = sorted(self.firsts)
        return ordered[-1] <= ordered[len(ordered) // 10] * _ALIKE


class WindowPredictor:
    """What was learnt of the objects read so far.

    Args:
        first_bytes: What to ask for of an object of which nothing is known.
    """

    def __init__(self, first_bytes: int) -> None:
        self._first_bytes = first_bytes
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._modalities: dict[str | None, _Modality] = {}

    async def windows(self, kind: ObjectTraits) -> tuple[int, ...]:
        """The lengths to ask for: of the first window, and of those behind values that are hopped over.

        While the first instance of a series is being read, and nothing better is known, the others wait
        for it: it takes one request, and saves one for each of them.
        """
        series = self._series.get(kind.series)
        if series is None:
            self._series[kind.series] = _Series()
            if len(self._series) > _SERIES:
                self._series.popitem(last=False)
            return self._guessed(kind)
        if not series.needs and not self._is_trusted(kind.modality):
            await series.measured.wait()
        if not series.needs:
            return self._guessed(kind)
        count = max(map(len, series.needs))
        if count == 1:  # almost always, and once an object
            return (_with_margin(max(series.needs)[0]),)
        return tuple(
            _with_margin(max(needs[place] for needs in series.needs if place < len(needs)))
            for place in range(count)
        )

    def learn(self, kind: ObjectTraits, needs: Sequence[int]) -> None:
        """Take note of what an object's header needed.

        Args:
            kind: What was known of the object.
            needs: The length of each window that would have been enough.
        """
        series = self._series.get(kind.series)
        if series is None:
            return
        if not series.needs:
            modality = self._modalities.setdefault(kind.modality, _Modality())
            modality.firsts.append(needs[0])
        series.needs.append(tuple(needs))
        series.measured.set()

    def give_up(self, kind: ObjectTraits) -> None:
        """The object could not be read: whoever waits for it goes on without."""
        series = self._series.get(kind.series)
        if series is not None:
            series.measured.set()

    def _is_trusted(self, name: str | None) -> bool:
        modality = self._modalities.get(name)
        return name in WHOLE_OBJECT or (modality is not None and modality.is_trusted())

    def _guessed(self, kind: ObjectTraits) -> tuple[int, ...]:
        modality = self._modalities.get(kind.modality)
        if kind.size is not None and kind.size <= _LONGEST and kind.modality in WHOLE_OBJECT:
            return (max(1, kind.size),)  # no pixel data, as a rule: the header is the object
        if modality is not None and modality.firsts:
            return (_with_margin(modality.guess()),)
        if kind.modality is None:
            return (self._first_bytes,)
        return (min(self._first_bytes, int(TYPICAL_HEADER.get(kind.modality, OTHER_HEADER) * _PROBE)),)


def _with_margin(need: int) -> int:
    """A little more than siblings needed: numbers in text are a digit longer now and then."""
    return min(_LONGEST, need + 64 + need // 64)
