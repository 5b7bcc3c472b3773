"""How long the headers were that a reader met last: the next object of the bucket is asked for as much."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from harvester.fetch.window_predictor import ObjectTraits, WindowPredictor
from harvester.model import ObjectRef

_LAST: Final = 4  # objects of a bucket that count
_BUCKETS: Final = 1024  # remembered at once
# More than this is asked for only where all of the last ones needed it: it costs no more time than a second
# request would, which is what it saves (scripts/bench read --part gap).
_LONGEST_GUESS: Final = 1 << 20  # bytes
_LONGEST: Final = 8 << 20  # bytes


class RecentLengths(WindowPredictor):
    """What the headers of each bucket's last objects needed; nobody waits for another's.

    A person looks at one kind of object, and then at another: so it is the last few that count, and
    what they have is asked for in one request.

    Args:
        first_bytes: What to ask for of an object of which nothing is known, and the least of any.
    """

    def __init__(self, first_bytes: int) -> None:
        super().__init__(first_bytes)
        self._least: Final = first_bytes
        self._needs: dict[str, deque[int]] = {}

    async def windows(self, kind: ObjectTraits) -> tuple[int, ...]:
        """The length of the first window."""
        needs = self._needs.get(_bucket(kind))
        if not needs:
            return (self._least,)
        guess = max(min(max(needs), _LONGEST_GUESS), min(*needs, _LONGEST))
        return (max(self._least, guess + guess // 64),)  # numbers in text are a digit longer now and then

    def learn(self, kind: ObjectTraits, needs: Sequence[int]) -> None:
        """Take note of what an object's header needed."""
        bucket = _bucket(kind)
        if bucket not in self._needs and len(self._needs) == _BUCKETS:
            self._needs.clear()
        self._needs.setdefault(bucket, deque(maxlen=_LAST)).append(needs[0])

    def clear(self) -> None:
        """Forget all of it."""
        self._needs.clear()


def traits_of(ref: ObjectRef) -> ObjectTraits:
    """What is known of an object by its address: its folder, which in IDC's buckets is its series."""
    return ObjectTraits(ref.url.rpartition("/")[0])


def _bucket(kind: ObjectTraits) -> str:
    return "/".join(kind.series.split("/", 3)[:3])


RECENT_LENGTHS: Final = RecentLengths(64 << 10)
