"""Publishes staged parts: they replace the old ones, which are kept for readers with an older snapshot.

The next snapshot is written first, as `_harvest/snapshot.next.json`; then the parts move to their folders;
then the next snapshot replaces the current one. It alone says which parts count. Interrupted after the first
step, the next writer repeats the others.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from harvester.dataset.commits import Part
from harvester.dataset.paths import GENERATIONS, NEXT_SNAPSHOT, REPLACED, SNAPSHOT, STAGED, split_path
from harvester.dataset.snapshot import Record, kept_generations, read_record
from harvester.dataset.storage import Storage

_CONCURRENT_COPIES = 16


def keep_replaced(storage: Storage, generation: int, replaced: Iterable[Part]) -> None:
    """Keep parts that will be replaced where the readers of this generation look for them.

    Raises:
        DatasetError: A part is missing or cannot be copied.
    """
    storage.delete_folder(f"{REPLACED}/{generation}")  # of an interrupted compaction
    with ThreadPoolExecutor(_CONCURRENT_COPIES) as threads:
        list(
            threads.map(
                lambda part: storage.copy(part.path, f"{REPLACED}/{generation}/{part.path}"), replaced
            )
        )


def publish(storage: Storage) -> bool:
    """Publish what is staged, if the next snapshot is written; else delete it. Returns whether it was.

    Raises:
        DatasetError: A snapshot is corrupt, the lock is lost, or a file cannot be moved.
    """
    following = read_record(storage, NEXT_SNAPSHOT)
    if following is not None:
        current = read_record(storage) or Record()
        replaced = _replaced(current, following)
        for folder, names in _new_parts(current, following).items():
            storage.replace_folder(f"{STAGED}/{folder}", folder, names, frozenset(replaced))
        storage.confirm()
        storage.rename(NEXT_SNAPSHOT, SNAPSHOT)
        for path in replaced:
            storage.delete(path)  # where it did not go with its folder; else the next sweep does
    storage.delete_folder(STAGED)
    _delete_expired(storage, read_record(storage) or Record())
    return following is not None


def _new_parts(current: Record, following: Record) -> dict[str, list[str]]:
    """The names of new parts, by folder."""
    before = {part.path for part in current.compacted}
    found: dict[str, list[str]] = {}
    for path in sorted({part.path for part in following.compacted} - before):
        folder, name = split_path(path)
        found.setdefault(folder, []).append(name)
    return found


def _replaced(current: Record, following: Record) -> list[str]:
    """The paths of parts that count no longer."""
    before = {part.path for part in current.compacted} | set(following.merged) - set(current.merged)
    return sorted(before - {part.path for part in following.compacted})


def _delete_expired(storage: Storage, record: Record) -> None:
    """Delete kept parts after their period, and those of a compaction that was interrupted."""
    now = datetime.now(UTC)
    for generation in kept_generations(storage):
        is_interrupted = generation == record.generation
        if is_interrupted or (generation in record.kept and record.kept[generation] <= now):
            storage.delete_folder(f"{REPLACED}/{generation}")
    storage.delete_folder(GENERATIONS)  # links to kept parts, which earlier versions made
