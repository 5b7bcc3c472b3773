"""Predicts how much of an object to request first, from headers of its series and its modality.

The instances of a series have headers of nearly the same length: the first one that is read predicts the
windows of the others. The window of the first one is predicted from earlier series of the same modality,
and before there are any from typical lengths.

A header around a long binary value is read in several windows; each of them is predicted in the same way.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import anyio

from harvester.fetch.typical_headers import OTHER_HEADER, TYPICAL_HEADER, WHOLE_OBJECT

_INSTANCES: Final = 8  # remembered of a series
_SERIES: Final = 4096  # remembered at the same time
_MODALITY_SERIES: Final = 32  # remembered of a modality
_TRUSTED_SERIES: Final = 6  # after so many similar series, a modality's prediction needs no first instance
_SIMILAR: Final = 1.3  # the largest ratio of their lengths
_LONGEST: Final = 4 << 20  # bytes of any predicted window
_LONGEST_GUESS: Final = 256 << 10  # bytes of the first window of an unknown series
_FIRST_MARGIN: Final = 1.3  # a second request costs more than some bytes


class ObjectTraits(NamedTuple):
    """What is known of an object before it is read: its series, modality and size in bytes."""

    series: str
    modality: str | None = None
    size: int | None = None


@dataclass(slots=True)
class _SeriesHistory:
    needs: deque[tuple[int, ...]] = field(default_factory=lambda: deque(maxlen=_INSTANCES))
    measured: anyio.Event = field(default_factory=anyio.Event)
    windows: tuple[int, ...] = ()  # from `needs`

    def add(self, needs: tuple[int, ...]) -> None:
        """Add what one instance needed."""
        history = self.needs
        if len(history) == _INSTANCES and history[0] == needs:
            history.append(needs)  # in place of an equal one
            return
        history.append(needs)
        count = max(map(len, history))
        if count == 1:  # nearly always
            self.windows = (_with_margin(max(history)[0]),)
            return
        self.windows = tuple(
            _with_margin(max(one[place] for one in history if place < len(one))) for place in range(count)
        )


@dataclass(slots=True)
class _ModalityHistory:
    """The first windows of the last series.

    Attributes:
        guess: Their 90th percentile, bounded.
        is_trusted: Whether they are enough, and of similar lengths.
    """

    guess: int = 0
    is_trusted: bool = False
    _firsts: deque[int] = field(default_factory=lambda: deque(maxlen=_MODALITY_SERIES))

    def add(self, first: int) -> None:
        """Add the first window of a series."""
        self._firsts.append(first)
        ordered = sorted(self._firsts)
        self.guess = min(_LONGEST_GUESS, ordered[len(ordered) * 9 // 10])
        is_similar = ordered[-1] <= ordered[len(ordered) // 10] * _SIMILAR
        self.is_trusted = is_similar and len(ordered) >= _TRUSTED_SERIES


class WindowPredictor:
    """Predicts window lengths from the headers read so far.

    Args:
        first_bytes: The first window of an object of which nothing is known.
    """

    def __init__(self, first_bytes: int) -> None:
        self._first_bytes = first_bytes
        self._series: OrderedDict[str, _SeriesHistory] = OrderedDict()
        self._modalities: dict[str | None, _ModalityHistory] = {}

    async def windows(self, traits: ObjectTraits) -> tuple[int, ...]:
        """The lengths of the first window and of those behind skipped values, in bytes.

        While the first instance of an unknown series is read, its other instances wait for it here: this
        takes one request's time and saves a request for each of them.
        """
        series = self._series.get(traits.series)
        if series is None:
            self._series[traits.series] = _SeriesHistory()
            if len(self._series) > _SERIES:
                self._series.popitem(last=False)
            return self._guessed(traits)
        if not series.windows and self.must_wait(traits):
            await series.measured.wait()
        return series.windows or self._guessed(traits)

    def must_wait(self, traits: ObjectTraits) -> bool:
        """Whether `windows` waits for the first instance of the series."""
        series = self._series.get(traits.series)
        return not (
            series is None or series.windows or series.measured.is_set() or self._is_trusted(traits.modality)
        )

    def learn(self, traits: ObjectTraits, needs: Sequence[int]) -> None:
        """Learn from a header.

        Args:
            traits: The object's traits.
            needs: The shortest sufficient length of each window, in bytes.
        """
        series = self._series.get(traits.series)
        if series is None:
            return
        if not series.windows:
            modality = self._modalities.setdefault(traits.modality, _ModalityHistory())
            modality.add(needs[0])
            series.measured.set()
        series.add(tuple(needs))

    def give_up(self, traits: ObjectTraits) -> None:
        """Let instances that wait for this object continue, after it failed."""
        series = self._series.get(traits.series)
        if series is not None:
            series.measured.set()

    def _is_trusted(self, name: str | None) -> bool:
        modality = self._modalities.get(name)
        return name in WHOLE_OBJECT or (modality is not None and modality.is_trusted)

    def _guessed(self, traits: ObjectTraits) -> tuple[int, ...]:
        modality = self._modalities.get(traits.modality)
        if traits.size is not None and traits.size <= _LONGEST and traits.modality in WHOLE_OBJECT:
            return (max(1, traits.size),)
        if modality is not None:
            return (_with_margin(modality.guess),)
        if traits.modality is None:
            return (self._first_bytes,)
        typical = TYPICAL_HEADER.get(traits.modality, OTHER_HEADER)
        return (min(self._first_bytes, int(typical * _FIRST_MARGIN)),)


def _with_margin(need: int) -> int:
    """A little more than the series needed so far: numbers in text can be a digit longer."""
    return min(_LONGEST, need + 64 + need // 64)
