"""The series that a dataset's commits hold, read without opening a part."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from harvester.catalog.clouds import canonical_key, is_series_uuid
from harvester.dataset import Commit
from harvester.dataset.paths import MAXIMUM_ENCODED_VALUE, NULL_PARTITION

_Counts = tuple[int, int]
_UNKNOWN: Final = object()


@dataclass(frozen=True, slots=True)
class CommittedSeries:
    """The committed series.

    Attributes:
        counts: Instances and failures of each series, by `canonical_key`.
        collections: The collection that each IDC series was harvested into, by CRDC series UUID.
        has_parts_of_series: Whether some series were harvested object by object, or by a prefix that is
            no IDC series folder: another key may name the same objects.
    """

    counts: Mapping[str, _Counts]
    collections: Mapping[str, str | None]
    has_parts_of_series: bool = False

    @classmethod
    def of(cls, commits: Iterable[Commit]) -> "CommittedSeries":
        """Read the commits once."""
        counts: dict[str, _Counts] = {}
        collections: dict[str, str | None] = {}
        has_parts = False
        shared: dict[_Counts, _Counts] = {}
        for commit in commits:
            folders = {part.path.split("/")[1] for part in commit.parts if part.kind == "instances"}
            # A shard of several collections does not record which series is in which.
            collection = _collection(min(folders)) if len(folders) == 1 else _UNKNOWN
            for name in commit.series:
                key = canonical_key(name)
                before, now = counts.get(key, (0, 0)), commit.counts.get(name, (0, 0))
                pair = (before[0] + now[0], before[1] + now[1])
                counts[key] = shared.setdefault(pair, pair)  # most of a million series share a few pairs
                if not is_series_uuid(key):
                    has_parts = has_parts or "://" in key
                elif collection is not _UNKNOWN:
                    collections[key] = None if collection is None else str(collection)
        return cls(counts, collections, has_parts)


def _collection(folder: str) -> object:
    """The value of `collection_id=...`; `_UNKNOWN` if it was too long for a folder name."""
    value = folder.partition("=")[2]
    if value == NULL_PARTITION:
        return None
    return _UNKNOWN if len(value) >= MAXIMUM_ENCODED_VALUE - 20 and "~" in value else unquote(value)
