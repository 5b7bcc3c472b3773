"""Deletes what an interrupted process left: parts of shards that were not committed, and unfinished files."""

import json
import logging
from collections.abc import Mapping

from harvester.dataset.commits import Commit, read_commits
from harvester.dataset.lock import Lock
from harvester.dataset.maintenance.damage import require_records
from harvester.dataset.maintenance.publish import publish
from harvester.dataset.paths import (
    OPEN,
    TEMPORARY,
    generation_of_part,
    is_owned,
    is_part_path,
    is_temporary_path,
    number_of_part,
    shard_of_part,
)
from harvester.dataset.snapshot import Record, read_record, read_snapshot
from harvester.dataset.storage import Storage

_logger = logging.getLogger("harvester")


def sweep(storage: Storage, lock: Lock) -> list[str]:
    """Complete an interrupted compaction; then delete orphaned files, and return their paths.

    A part is deleted only if a record proves that it does not count: its shard was begun and not committed,
    its failures were retried, or it was merged. Other parts that no commit names stay: a commit may be lost.

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
    orphans = _orphans(storage, uncounted) if uncounted else []
    if unexplained := sorted(uncounted.difference(orphans)):
        _logger.warning(
            "%s: no commit names %d parts, such as %s; they stay, and do not count",
            storage.folder,
            len(unexplained),
            unexplained[0],
        )
    orphans += [path for path in storage.list_files(TEMPORARY) if is_temporary_path(path)]
    for path in orphans:
        storage.delete(path)
    for path in filter(is_owned, list(storage.list_files(OPEN))):
        storage.delete(path)
    return orphans


def _orphans(storage: Storage, uncounted: set[str]) -> list[str]:
    record = read_record(storage) or Record()
    merged = set(record.merged)
    kept = {
        path.removeprefix(f"{OPEN}/").removesuffix(".json"): _committed(storage, path)
        for path in storage.list_files(OPEN)
    }
    commits = {f"{commit.crawl}.{commit.shard}": commit for commit in read_commits(storage)}

    def is_orphan(path: str) -> bool:
        shard, generation = shard_of_part(path), generation_of_part(path)
        if generation:
            return generation < record.generation
        if path in merged or (shard in kept and path not in kept[shard]):
            return True
        return _is_retried(path, commits)

    return sorted(filter(is_orphan, uncounted))


def _is_retried(path: str, commits: Mapping[str, Commit]) -> bool:
    """Whether a part of `failures` was replaced by those of its shard's next commit."""
    commit = commits.get(shard_of_part(path))
    if commit is None or not commit.generation or not path.startswith("failures/"):
        return False
    numbers = [number_of_part(part.path) for part in commit.parts if part.kind == "failures"]
    return number_of_part(path) < max(numbers, default=number_of_part(path) + 1)


def _committed(storage: Storage, path: str) -> set[str]:
    """The parts of an open shard that were committed before, and stay."""
    try:
        return {part for part in json.loads(storage.read(path))["committed"] if is_part_path(part)}
    except (ValueError, KeyError, TypeError):
        raise storage.error(path, "corrupt record of an open shard; move it away") from None
