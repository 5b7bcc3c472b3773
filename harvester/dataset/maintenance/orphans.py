"""Deletes what an interrupted process left: parts of shards that were not committed, and unfinished files."""

import logging

from harvester.dataset.lock import Lock
from harvester.dataset.maintenance.damage import find_orphans, require_records
from harvester.dataset.maintenance.publish import publish
from harvester.dataset.paths import OPEN, TEMPORARY, is_owned, is_temporary_path
from harvester.dataset.snapshot import read_snapshot
from harvester.dataset.storage import Storage

_logger = logging.getLogger("harvester")


def sweep(storage: Storage, lock: Lock) -> list[str]:
    """Complete an interrupted compaction; then delete orphaned files, and return their paths.

    A part is deleted only if a record proves that it does not count (see `find_orphans`). In a dataset of an
    earlier version, other parts that no commit names stay: a commit may be lost.

    Args:
        storage: The dataset's files.
        lock: Proof that no crawl is running: its parts are not committed yet.

    Raises:
        DatasetError: A record is corrupt or missing, or a file cannot be listed or deleted.
        ValueError: The lock is another dataset's.
    """
    if lock.location != storage.location:
        raise ValueError(f"the lock is of {lock.location}, not of {storage.location}")
    storage.confirm()
    present = require_records(storage)
    if publish(storage):
        present = require_records(storage)
    uncounted = present - {part.path for part in read_snapshot(storage).parts}
    orphans = sorted(find_orphans(storage, uncounted))
    if unexplained := sorted(uncounted.difference(orphans)):
        _logger.warning(
            "%s: no commit names %d parts, such as %s; they stay, and do not count",
            storage.folder,
            len(unexplained),
            unexplained[0],
        )
    orphans += [path for path in storage.list_files(TEMPORARY) if is_temporary_path(path)]
    orphans += filter(is_owned, storage.list_files(OPEN))  # last: the parts are deleted by what these say
    for path in orphans:
        storage.delete(path)
    return orphans
