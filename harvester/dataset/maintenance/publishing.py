"""From staged parts to the dataset's own: what a compaction that was killed here is finished by."""

from collections.abc import Iterator
from datetime import UTC, datetime

from harvester.dataset.commits import Part
from harvester.dataset.maintenance.replacing import replacing_in
from harvester.dataset.paths import NEXT_SNAPSHOT, SNAPSHOT, STAGED
from harvester.dataset.snapshot import Record, current_record, next_record
from harvester.dataset.storage import Storage


def publish(storage: Storage) -> None:
    """Publish what is staged, if its record is written; else remove it. May be killed, and run again.

    Raises:
        DatasetError: A record is corrupt, or the place refuses a step.
    """
    place = replacing_in(storage)
    following = next_record(storage)
    if following is not None:
        current = current_record(storage)
        place.lead_away(current.generation)
        place.show(_fresh(current, following))
        place.lead(following.generation)
        storage.confirm()
        storage.rename(NEXT_SNAPSHOT, SNAPSHOT)
        for path in _gone(current, following):
            storage.delete(path)  # else the next sweep does
    storage.delete_folder(STAGED)
    place.drop(current_record(storage), datetime.now(UTC))


def _fresh(current: Record, following: Record) -> Iterator[Part]:
    """The parts that are new."""
    before = {part.path for part in current.compacted}
    return (part for part in following.compacted if part.path not in before)


def _gone(current: Record, following: Record) -> list[str]:
    """The paths of parts that have given way, where they did not go with their folder."""
    stays = {part.path for part in following.compacted}
    gone = {part.path for part in current.compacted} | set(following.merged) - set(current.merged)
    return sorted(gone - stays)
