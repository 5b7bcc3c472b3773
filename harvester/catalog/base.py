"""What every catalog can do: count what is selected, and name it series by series."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from harvester.model import Series, SeriesOutline, Summary


@dataclass(frozen=True, slots=True)
class ReleaseChanges:
    """What a release has otherwise than it was harvested.

    Attributes:
        gone: The first release that had a series no more, by its CRDC UUID.
        moved: The collection that a series is in now, where that is another one.
    """

    gone: Mapping[str, int] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)


class Catalog(ABC):
    """A selection of series, counted without being listed, and listed without being held in memory."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the catalog is, for a person: its file, address or release."""

    @property
    def release(self) -> int | None:
        """The IDC release that the catalog describes; None where it is not IDC's."""
        return None

    @abstractmethod
    def summary(self) -> Summary:
        """Count the selection."""

    @abstractmethod
    def series(self, limit: int | None = None) -> Iterator[Series]:
        """The selected series, or the first `limit` of them, in an order that is always the same.

        Raises:
            SelectionError: A row of the catalog does not say where its series lies.
        """

    def outlines(self) -> Iterator[SeriesOutline]:
        """The selected series, by collection, modality and key, without saying where they lie.

        Raises:
            SelectionError: The catalog cannot be read to its end.
        """
        for one in sorted(
            self.series(), key=lambda one: (one.collection_id or "", one.modality or "", one.key)
        ):
            count = one.instance_count
            count = len(one.objects) or None if count is None else count
            yield SeriesOutline(one.key, one.collection_id, one.modality, count, one.size)

    @property
    def is_ordered(self) -> bool:
        """Whether `series` gives each once, by collection, modality and key: a plan need not sort them."""
        return False

    def studies(self) -> Iterator[tuple[str, str]]:
        """The selected series' keys with their Study Instance UIDs, where the catalog has these."""
        return iter(())

    def changes(self, harvested: Mapping[str, str | None]) -> ReleaseChanges:
        """What the catalog's release says of series that were harvested before; `[select]` does not matter.

        Nothing, where the catalog is not one of a release.

        Args:
            harvested: The collection that each was harvested into, by its CRDC UUID.

        Raises:
            SelectionError: The catalog cannot be read to its end.
        """
        del harvested
        return ReleaseChanges()

    @property
    def is_complete(self) -> bool:
        """Whether the catalog is known to name every series of its release."""
        return False

    @property
    def places(self) -> Sequence[str]:
        """Addresses below which the catalog names every object that there is: what is not named is gone."""
        return ()

    def bucket_totals(self) -> Mapping[tuple[str, str], int]:
        """How many objects each bucket (scheme and name) holds in all, selected or not, at a guess.

        A bucket of which the catalog knows nothing is left out.
        """
        return {}

    def close(self) -> None:  # noqa: B027 - most catalogs hold nothing open
        """Let go of files and connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
