"""The base class of all catalogs."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from harvester.model import Series, SeriesOutline, Summary


@dataclass(frozen=True, slots=True)
class ReleaseChanges:
    """Differences between a release and harvested series.

    Attributes:
        gone: The first release without a series, by CRDC series UUID.
        moved: The new collection of a series that was moved, by CRDC series UUID.
    """

    gone: Mapping[str, int] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)


class Catalog(ABC):
    """A selection of series, which can be counted, and iterated without being held in memory."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The catalog's name in messages: its file, URL or release."""

    @property
    def release(self) -> int | None:
        """The IDC release that the catalog describes; None if it is not IDC's."""
        return None

    @abstractmethod
    def summary(self) -> Summary:
        """Counts of the selection."""

    @abstractmethod
    def series(self, limit: int | None = None) -> Iterator[Series]:
        """The selected series, or the first `limit` of them, always in the same order.

        Raises:
            SelectionError: A row of the catalog gives no location for its series.
        """

    def outlines(self) -> Iterator[SeriesOutline]:
        """The selected series by collection, modality and key, without their locations.

        Raises:
            SelectionError: The catalog cannot be read to its end.
        """
        outlines = (one.outline for one in self.series())
        yield from sorted(outlines, key=lambda one: (one.collection_id or "", one.modality or "", one.key))

    @property
    def is_ordered(self) -> bool:
        """Whether `series` is sorted by collection, modality and key, each key once."""
        return False

    def studies(self) -> Iterator[tuple[str, str]]:
        """Keys and Study Instance UIDs of the selected series, if the catalog has these UIDs."""
        return iter(())

    def changes(self, harvested: Mapping[str, str | None]) -> ReleaseChanges:
        """How harvested series differ from the catalog's release, whatever `[select]` is.

        Empty if the catalog describes no release.

        Args:
            harvested: The collection that each series was harvested into, by CRDC series UUID.

        Raises:
            SelectionError: The catalog cannot be read to its end.
        """
        del harvested
        return ReleaseChanges()

    @property
    def is_complete(self) -> bool:
        """Whether the catalog certainly names every series of its release."""
        return False

    @property
    def places(self) -> Sequence[str]:
        """URL prefixes below which the catalog names every object: others are gone."""
        return ()

    def bucket_totals(self) -> Mapping[tuple[str, str], int]:
        """The estimated number of objects in each bucket (scheme and name), selected or not.

        Buckets that the catalog does not know are left out.
        """
        return {}

    def close(self) -> None:  # noqa: B027 - most catalogs hold nothing open
        """Close files and connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
