"""How parts give way to others, so that whoever opened the dataset before goes on finding what was there.

In a directory folders change places at one stroke, and links lead earlier readers to further names of the
old files. In a bucket there is neither: new parts are put beside the old ones, the record says which count,
and earlier readers who miss an old one look for its copy under `_harvest/replaced`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final

from harvester.dataset.bucket import BucketStorage
from harvester.dataset.commits import Part
from harvester.dataset.maintenance.exchange import exchange
from harvester.dataset.maintenance.generations import (
    drop_generations,
    is_over,
    keep_parts,
    link_generation,
    link_to_replaced,
)
from harvester.dataset.paths import REPLACED, STAGED, is_part_path, partition_folder
from harvester.dataset.snapshot import Record
from harvester.dataset.storage import LocalStorage, Storage, sync_folder
from harvester.errors import DatasetError

_AT_ONCE: Final = 16


class Replacing(ABC):
    """What a compaction does besides writing parts and records, in one kind of place."""

    @abstractmethod
    def prepare(self, generation: int) -> None:
        """See that it can be done here, before hours of work are put into it."""

    @abstractmethod
    def keep(self, generation: int, parts: Iterable[Part], replaced: Iterable[Part]) -> None:
        """Keep a generation's parts where its readers will look, of which some will be replaced."""

    @abstractmethod
    def lead_away(self, generation: int) -> None:
        """Lead a generation's readers to what was kept for them."""

    @abstractmethod
    def show(self, fresh: Iterable[Part]) -> None:
        """Put staged parts where they belong; may be killed, and run again."""

    @abstractmethod
    def lead(self, generation: int) -> None:
        """Lead a generation's readers to the tables themselves."""

    @abstractmethod
    def drop(self, record: Record, now: datetime) -> None:
        """Delete what was kept until now, and what a compaction without end began to keep."""


def replacing_in(storage: Storage) -> Replacing:
    """How parts are replaced in this place."""
    if isinstance(storage, BucketStorage):
        return _InBucket(storage)
    if isinstance(storage, LocalStorage):
        return _InDirectory(storage)
    raise TypeError(f"{type(storage).__name__} cannot replace parts")


class _InDirectory(Replacing):
    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage

    def prepare(self, generation: int) -> None:
        one, other = (self._storage.root / STAGED / name for name in ("one", "other"))
        for folder in (one, other):
            folder.mkdir(parents=True, exist_ok=True)
        exchange(one, other)
        for folder in (one, other):
            folder.rmdir()
        link_generation(self._storage, generation)

    def keep(self, generation: int, parts: Iterable[Part], replaced: Iterable[Part]) -> None:
        del replaced  # a further name of a file costs nothing: all of them are kept
        keep_parts(self._storage, generation, parts)

    def lead_away(self, generation: int) -> None:
        link_to_replaced(self._storage, generation)

    def show(self, fresh: Iterable[Part]) -> None:
        for folder, part in sorted({partition_folder(part.path): part.path for part in fresh}.items()):
            self._show_folder(folder, part)

    def _show_folder(self, folder: str, part: str) -> None:
        root = self._storage.root
        public, staged = root / folder, root / STAGED / folder
        if not self._storage.exists(part):
            exchange(staged, public)
        try:
            if staged.is_dir():
                _move_strangers(staged, public, folder)
            for place in (public, public.parent, staged.parent):
                sync_folder(place)
        except OSError as error:
            raise DatasetError(f"{public}: cannot be replaced ({error.strerror or error})") from error

    def lead(self, generation: int) -> None:
        link_generation(self._storage, generation)

    def drop(self, record: Record, now: datetime) -> None:
        drop_generations(self._storage, record, now)


def _move_strangers(replaced: Path, public: Path, folder: str) -> None:
    """What somebody else put beside the parts stays where they put it."""
    for stranger in replaced.iterdir():
        if not is_part_path(f"{folder}/{stranger.name}") and not (public / stranger.name).exists():
            stranger.rename(public / stranger.name)


class _InBucket(Replacing):
    def __init__(self, storage: BucketStorage) -> None:
        self._storage = storage

    def prepare(self, generation: int) -> None:
        """Nothing to see: a bucket can copy."""

    def keep(self, generation: int, parts: Iterable[Part], replaced: Iterable[Part]) -> None:
        del parts  # readers look for the others where they are
        self._storage.delete_folder(f"{REPLACED}/{generation}")
        self._copy((part.path, f"{REPLACED}/{generation}/{part.path}") for part in replaced)

    def lead_away(self, generation: int) -> None:
        """Readers find their way by themselves: see `harvester.query.bucket_files`."""

    def show(self, fresh: Iterable[Part]) -> None:
        there = {path.removeprefix(f"{STAGED}/") for path in self._storage.list_files(STAGED)}
        self._copy((f"{STAGED}/{part.path}", part.path) for part in fresh if part.path in there)

    def lead(self, generation: int) -> None:
        """As `lead_away`."""

    def drop(self, record: Record, now: datetime) -> None:
        for name in sorted(set(self._kept_generations())):
            if is_over(name, record, now):
                self._storage.delete_folder(f"{REPLACED}/{name}")

    def _kept_generations(self) -> Iterator[str]:
        for path in self._storage.list_files(REPLACED):
            yield path.removeprefix(f"{REPLACED}/").partition("/")[0]

    def _copy(self, pairs: Iterable[tuple[str, str]]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(lambda pair: self._storage.copy(*pair), pairs))
