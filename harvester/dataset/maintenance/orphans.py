"""What a killed process left behind: parts that no commit names, unfinished files, half a compaction."""

from harvester.dataset.lock import Lock
from harvester.dataset.maintenance.publishing import publish
from harvester.dataset.paths import TABLES, TEMPORARY, is_part_path, is_temporary_path
from harvester.dataset.snapshot import read_snapshot
from harvester.dataset.storage import Storage


def sweep(storage: Storage, lock: Lock) -> list[str]:
    """Delete the parts that no commit names, and unfinished files; return their paths.

    First a compaction that was killed while it was published is brought to its end. Only files whose
    name and place are ours go, no symbolic link is followed, and nothing is deleted unless every
    record can be read.

    Args:
        storage: The dataset's files.
        lock: Proof that no crawl is at work: its parts would be taken for remains.

    Raises:
        DatasetError: A commit record is corrupt, or a file cannot be listed or deleted.
        ValueError: The lock is another dataset's.
    """
    if lock.location != storage.location:
        raise ValueError(f"the lock is of {lock.location}, not of {storage.location}")
    storage.confirm()
    publish(storage)
    committed = {part.path for part in read_snapshot(storage).parts}
    remains = [
        path
        for kind in TABLES
        for path in storage.list_files(kind)
        if is_part_path(path) and path not in committed
    ]
    remains += [path for path in storage.list_files(TEMPORARY) if is_temporary_path(path)]
    for path in remains:
        storage.delete(path)
    return remains
