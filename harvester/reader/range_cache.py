"""Bytes of one object in memory: pinned ranges, and the most recently used other ones."""

import threading
from bisect import bisect_right, insort
from dataclasses import dataclass

from harvester.model import ByteRange


@dataclass(slots=True)
class _CachedRange:
    data: bytes
    used: int
    pinned: bool


class RangeCache:
    """Disjoint ranges of bytes; any thread may use it.

    Readers move back by a few bytes, and between two places, so it holds as many ranges as fit.

    Args:
        most_bytes: Limit on the bytes that are not pinned; the least recently used ranges are dropped.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._starts: list[int] = []
        self._entries: dict[int, _CachedRange] = {}
        self._held = 0
        self._clock = 0
        self._lock = threading.Lock()

    def put(self, start: int, data: bytes, *, pin: bool = False) -> None:
        """Store the bytes at offset `start`; pinned bytes are never dropped."""
        with self._lock:
            for gap in self._gaps(start, start + len(data)):
                part = data[gap.start - start : gap.stop - start]
                self._clock += 1
                self._entries[gap.start] = _CachedRange(part, self._clock, pin)
                insort(self._starts, gap.start)
                self._held += 0 if pin else len(part)
            while self._held > self._most_bytes:
                self._drop_oldest()

    def get(self, start: int, stop: int) -> bytes | None:
        """The bytes from `start` to `stop`, or None if any of them is missing."""
        with self._lock:
            parts = []
            while start < stop:
                found = self._at(start)
                if found is None:
                    return None
                first, entry = found
                part = entry.data[start - first : stop - first]
                self._clock += 1
                entry.used = self._clock
                parts.append(part)
                start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def gaps(self, start: int, stop: int) -> list[ByteRange]:
        """The missing ranges between `start` and `stop`."""
        with self._lock:
            return self._gaps(start, stop)

    def next_start(self, position: int) -> int | None:
        """The start of the first range after a position."""
        with self._lock:
            place = bisect_right(self._starts, position)
            return self._starts[place] if place < len(self._starts) else None

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._clear()

    def unlock_after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held; then the content is dropped too."""
        if self._lock.locked():
            self._clear()
        self._lock = threading.Lock()

    def _clear(self) -> None:
        self._starts.clear()
        self._entries.clear()
        self._held = 0

    def _at(self, position: int) -> tuple[int, _CachedRange] | None:
        place = bisect_right(self._starts, position) - 1
        if place < 0:
            return None
        first = self._starts[place]
        entry = self._entries[first]
        return (first, entry) if position < first + len(entry.data) else None

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

    def _drop_oldest(self) -> None:
        unpinned = (start for start, entry in self._entries.items() if not entry.pinned)
        oldest = min(unpinned, key=lambda start: self._entries[start].used)
        self._held -= len(self._entries.pop(oldest).data)
        self._starts.remove(oldest)
