"""Deletes what an interrupted process left: parts that no commit names, and unfinished files."""

from harvester.dataset.lock import Lock
from harvester.dataset.maintenance.publish import publish
from harvester.dataset.paths import TABLES, TEMPORARY, is_part_path, is_temporary_path
from harvester.dataset.snapshot import read_snapshot
from harvester.dataset.storage import Storage


def sweep(storage: Storage, lock: Lock) -> list[str]:
    """Complete an interrupted compaction; then delete orphaned files, and return their paths.

    Only files with our names, in our folders, are deleted; links are not followed; and nothing is deleted
    unless every record can be read.

    Args:
        storage: The dataset's files.
        lock: Proof that no crawl is running: its parts are not committed yet.

    Raises:
        DatasetError: A record is corrupt, or a file cannot be listed or deleted.
        ValueError: The lock is another dataset's.
    """
    if lock.location != storage.location:
        raise ValueError(f"the lock is of {lock.location}, not of {storage.location}")
    storage.confirm()
    publish(storage)
    counted = {part.path for part in read_snapshot(storage).parts}
    orphans = [
        path
        for table in TABLES
        for path in storage.list_files(table)
        if is_part_path(path) and path not in counted
    ]
    orphans += [path for path in storage.list_files(TEMPORARY) if is_temporary_path(path)]
    for path in orphans:
        storage.delete(path)
    return orphans
