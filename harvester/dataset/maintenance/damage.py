"""Finds records that are missing or of another time, before anything is deleted by what the others say."""

from collections.abc import Iterable

from harvester.dataset.paths import (
    COMMITS,
    NEXT_SNAPSHOT,
    SNAPSHOT,
    STAGED,
    TABLES,
    generation_of_part,
    is_part_path,
)
from harvester.dataset.snapshot import Record, kept_generations, read_record, read_snapshot
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError


def present_parts(storage: Storage) -> set[str]:
    """The paths of all parts in the tables' folders."""
    return {path for table in TABLES for path in storage.list_files(table) if is_part_path(path)}


def require_records(storage: Storage) -> set[str]:
    """Check that the records and the parts of a dataset belong together; return the parts that are there.

    Raises:
        DatasetError: A record is missing or corrupt, or a part is; the message says how to repair it.
    """
    present = present_parts(storage)
    if problems := find_damage(storage, present):
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        raise DatasetError(
            f"{storage.folder}: {problems[0]}{more}; nothing was changed: restore it from a copy, or run "
            f"`harvester repair -d {storage.folder}`"
        )
    return present


def find_damage(storage: Storage, present: Iterable[str]) -> list[str]:
    """Describe what is missing in a dataset.

    Args:
        storage: The dataset's files.
        present: The parts in its tables' folders.

    Raises:
        DatasetError: A record is corrupt.
    """
    present = set(present)
    record = read_record(storage) or Record()
    commits = set(storage.list_files(COMMITS))
    problems = snapshot_damage(storage, present)
    problems += [f"{path} is missing" for path in sorted(set(record.commits) - commits)]
    if not storage.exists(NEXT_SNAPSHOT):
        counted = {part.path for part in read_snapshot(storage).parts}
        problems += [f"{path} is missing" for path in sorted(counted - present)]
    return problems


def snapshot_damage(storage: Storage, present: Iterable[str]) -> list[str]:
    """Describe what shows that a snapshot is lost, or of another time, or cannot be published.

    Raises:
        DatasetError: A snapshot is corrupt.
    """
    record, following = read_record(storage), read_record(storage, NEXT_SNAPSHOT)
    known = max(one.generation for one in (record, following, Record()) if one is not None)
    newest = max(map(generation_of_part, present), default=0)
    kept = max(kept_generations(storage), default=-1)
    if record is None and following is None and (newest or kept >= 0):
        return [f"{SNAPSHOT} is missing, although the dataset was compacted"]
    if newest > known or kept > known:
        return [f"{SNAPSHOT} is older than the dataset, which was compacted since"]
    if following is None:
        return []
    there = {path.removeprefix(f"{STAGED}/"): size for path, (size, _) in storage.stamps(STAGED).items()}
    staged = {path.replace(".aside/", "/"): size for path, size in there.items()}
    return [
        f"{STAGED}/{part.path} is missing or incomplete"
        for part in following.compacted
        if part.path not in present and staged.get(part.path) != part.bytes
    ]
