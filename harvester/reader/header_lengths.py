"""Predicts the length of the next header from the last objects of the same bucket."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from harvester.fetch.window_predictor import ObjectTraits, WindowPredictor
from harvester.model import ObjectRef

_RECENT: Final = 4  # objects of a bucket that count
_BUCKETS: Final = 1024  # remembered at once
# Longer windows are requested only if all recent headers needed them: up to here, the extra bytes take no
# longer than the second request that they save (scripts/bench read --part gap).
_LONGEST_GUESS: Final = 1 << 20  # bytes
_LONGEST: Final = 8 << 20  # bytes


class RecentLengths(WindowPredictor):
    """The lengths of each bucket's last headers; requests do not wait for each other.

    Interactive users read one kind of object, then another, so only the last few count.

    Args:
        first_bytes: The window for an object of an unknown bucket, and the shortest one.
    """

    def __init__(self, first_bytes: int) -> None:
        super().__init__(first_bytes)
        self._shortest: Final = first_bytes
        self._needs: dict[str, deque[int]] = {}

    async def windows(self, kind: ObjectTraits) -> tuple[int, ...]:
        """The length of the first window."""
        needs = self._needs.get(_bucket(kind))
        if not needs:
            return (self._shortest,)
        guess = max(min(max(needs), _LONGEST_GUESS), min(*needs, _LONGEST))
        return (max(self._shortest, guess + guess // 64),)  # numbers as text can be a digit longer

    def learn(self, kind: ObjectTraits, needs: Sequence[int]) -> None:
        """Record the window lengths that an object's header needed."""
        bucket = _bucket(kind)
        if bucket not in self._needs and len(self._needs) == _BUCKETS:
            self._needs.clear()
        self._needs.setdefault(bucket, deque(maxlen=_RECENT)).append(needs[0])

    def clear(self) -> None:
        """Forget all lengths."""
        self._needs.clear()


def traits_of(ref: ObjectRef) -> ObjectTraits:
    """The traits that an object's address shows: its folder, which in IDC's buckets is its series."""
    return ObjectTraits(ref.url.rpartition("/")[0])


def _bucket(kind: ObjectTraits) -> str:
    return "/".join(kind.series.split("/", 3)[:3])


RECENT_LENGTHS: Final = RecentLengths(64 << 10)
