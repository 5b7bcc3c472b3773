"""Bytes of one object that were read before: what is always kept, and what was used last."""

import threading
from bisect import bisect_right, insort
from dataclasses import dataclass

from harvester.model import ByteRange


@dataclass(slots=True)
class _Span:
    data: bytes
    used: int
    kept: bool


class RangeCache:
    """Spans of bytes, none over another; any thread may look into it.

    A reader goes back by a few bytes now and then, and between two places: so it is not one window that
    is held, but as many as fit.

    Args:
        most_bytes: How many bytes are held besides those that are kept for ever; of more, what was not
            used for the longest time is forgotten.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._starts: list[int] = []
        self._spans: dict[int, _Span] = {}
        self._held = 0
        self._clock = 0
        self._lock = threading.Lock()

    def put(self, start: int, data: bytes, *, keep: bool = False) -> None:
        """Hold bytes that lie at `start`; `keep` says that they must not be forgotten."""
        with self._lock:
            for gap in self._gaps(start, start + len(data)):
                part = data[gap.start - start : gap.stop - start]
                self._clock += 1
                self._spans[gap.start] = _Span(part, self._clock, keep)
                insort(self._starts, gap.start)
                self._held += 0 if keep else len(part)
            while self._held > self._most_bytes:
                self._forget_one()

    def get(self, start: int, stop: int) -> bytes | None:
        """The bytes from `start` to `stop`, or None where one of them is not held."""
        with self._lock:
            parts = []
            while start < stop:
                found = self._at(start)
                if found is None:
                    return None
                first, span = found
                part = span.data[start - first : stop - first]
                self._clock += 1
                span.used = self._clock
                parts.append(part)
                start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)  # nothing was wanted: nothing is there

    def gaps(self, start: int, stop: int) -> list[ByteRange]:
        """Which bytes from `start` to `stop` are not held."""
        with self._lock:
            return self._gaps(start, stop)

    def next_held(self, position: int) -> int | None:
        """DatasetLike the first span behind a position starts."""
        with self._lock:
            place = bisect_right(self._starts, position)
            return self._starts[place] if place < len(self._starts) else None

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._starts.clear()
            self._spans.clear()
            self._held = 0

    def unlock(self) -> None:
        """As if no thread were looking: in a forked process, which has this one's lock and not its threads.

        What one of these was changing is in an unknown state, and is forgotten.
        """
        if self._lock.locked():
            self._starts.clear()
            self._spans.clear()
            self._held = 0
        self._lock = threading.Lock()

    def _at(self, position: int) -> tuple[int, _Span] | None:
        place = bisect_right(self._starts, position) - 1
        if place < 0:
            return None
        first = self._starts[place]
        span = self._spans[first]
        return (first, span) if position < first + len(span.data) else None

    def _gaps(self, start: int, stop: int) -> list[ByteRange]:
        gaps = []
        while start < stop:
            found = self._at(start)
            if found is not None:
                start = found[0] + len(found[1].data)
                continue
            place = bisect_right(self._starts, start)
            end = min(stop, self._starts[place]) if place < len(self._starts) else stop
            gaps.append(ByteRange(start, end))
            start = end
        return gaps

    def _forget_one(self) -> None:
        forgettable = (start for start, span in self._spans.items() if not span.kept)
        oldest = min(forgettable, key=lambda start: self._spans[start].used)
        self._held -= len(self._spans.pop(oldest).data)
        self._starts.remove(oldest)
