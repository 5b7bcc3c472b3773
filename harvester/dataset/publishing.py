"""From staged parts to the dataset's own: what a compaction that was killed here is finished by."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from harvester.dataset.exchange import exchange
from harvester.dataset.generations import drop_generations, link_generation, link_to_replaced
from harvester.dataset.names import NEXT_SNAPSHOT, SNAPSHOT, STAGED, is_part_path, partition_folder
from harvester.dataset.snapshot import Record, current_record, next_record
from harvester.dataset.storage import LocalStorage, sync_folder
from harvester.errors import DatasetError


def publish(storage: LocalStorage) -> None:
    """Publish what is staged, if its record is written; else remove it. May be killed, and run again.

    Raises:
        DatasetError: A record is corrupt, or the file system refuses a step.
    """
    following = next_record(storage)
    if following is not None:
        current = current_record(storage)
        link_to_replaced(storage, current.generation)
        for folder, part in _changed(current, following):
            _publish_folder(storage, folder, part)
        link_generation(storage, following.generation)
        storage.rename(NEXT_SNAPSHOT, SNAPSHOT)
    storage.delete_folder(STAGED)
    drop_generations(storage, current_record(storage), datetime.now(UTC))


def _changed(current: Record, following: Record) -> Iterator[tuple[str, str]]:
    """Each folder that was compacted, and one of the parts that are new in it."""
    before = {part.path for part in current.compacted}
    fresh = {
        partition_folder(part.path): part.path for part in following.compacted if part.path not in before
    }
    yield from sorted(fresh.items())


def _publish_folder(storage: LocalStorage, folder: str, part: str) -> None:
    public, staged = storage.root / folder, storage.root / STAGED / folder
    if not storage.exists(part):
        exchange(staged, public)
    try:
        if staged.is_dir():
            _move_strangers(staged, public, folder)
        for place in (public, public.parent, staged.parent):
            sync_folder(place)
    except OSError as error:
        raise DatasetError(f"{public}: cannot be replaced ({error.strerror or error})") from error


def _move_strangers(replaced: Path, public: Path, folder: str) -> None:
    """What somebody else put beside the parts stays where they put it."""
    for stranger in replaced.iterdir():
        if not is_part_path(f"{folder}/{stranger.name}") and not (public / stranger.name).exists():
            stranger.rename(public / stranger.name)
