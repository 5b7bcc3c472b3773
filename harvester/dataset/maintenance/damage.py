"""Finds missing and outdated records, before anything is deleted because of the other records."""

import json
from collections.abc import Iterable, Mapping

from harvester.dataset.commits import Commit, commit_stamps, read_commits
from harvester.dataset.paths import (
    COMMITS,
    NEXT_SNAPSHOT,
    OPEN,
    OPEN_RECORDED,
    SNAPSHOT,
    STAGED,
    TABLES,
    generation_of_part,
    is_owned,
    is_part_path,
    number_of_part,
    shard_of_part,
)
from harvester.dataset.snapshot import Record, kept_generations, read_record, read_snapshot
from harvester.dataset.storage import Storage
from harvester.dataset.tombstones import read_marks
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
    read_marks(storage)
    if problems := find_damage(storage, present):
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        raise DatasetError(
            f"{storage.folder}: {problems[0]}{more}; nothing was changed: restore it from a copy, or run "
            f"`harvester repair -d {storage.folder}`"
        )
    return present


def find_damage(storage: Storage, present: set[str]) -> list[str]:
    """Describe what is missing in a dataset.

    Args:
        storage: The dataset's files.
        present: The parts in its tables' folders.

    Raises:
        DatasetError: A record is corrupt.
    """
    record = read_record(storage) or Record()
    lost = set(record.commits) - set(commit_stamps(storage)) | lost_commits(storage, present)
    problems = snapshot_damage(storage, present) + [_missing(storage, path) for path in sorted(lost)]
    if problems:
        return problems
    counted = {part.path for part in read_snapshot(storage).parts}
    if storage.exists(NEXT_SNAPSHOT):
        return []
    problems = [_missing(storage, path) for path in sorted(counted - present)]
    if storage.exists(OPEN_RECORDED):
        unexplained = present - counted - find_orphans(storage, present - counted)
        problems += [f"{path}: its shard's commit is older than it" for path in sorted(unexplained)]
    return problems


def _missing(storage: Storage, path: str) -> str:
    return f"{path} is " + ("a link, which is not followed" if storage.exists(path) else "missing")


def lost_commits(storage: Storage, present: set[str]) -> set[str]:
    """The paths of commits that were written, as their parts show, and that are missing."""
    if not storage.exists(OPEN_RECORDED):
        return set()  # parts without a commit can be those of a shard that was interrupted
    shards = {shard_of_part(path) for path in present if not generation_of_part(path)}
    written = {path.removeprefix(f"{OPEN}/") for path in storage.list_files(OPEN)}
    written |= {path.removeprefix(f"{COMMITS}/") for path in storage.list_files(COMMITS)}
    return {f"{COMMITS}/{shard}.json" for shard in shards if f"{shard}.json" not in written}


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


def find_orphans(storage: Storage, uncounted: set[str]) -> set[str]:
    """The parts that a record proves not to count.

    Their shard was begun and not committed, their failures were retried, or they were merged.

    Args:
        storage: The dataset's files.
        uncounted: Parts that the snapshot does not count.

    Raises:
        DatasetError: A record is corrupt.
    """
    if not uncounted:
        return set()
    record = read_record(storage) or Record()
    merged = set(record.merged)
    kept = {
        path.removeprefix(f"{OPEN}/").removesuffix(".json"): _committed(storage, path)
        for path in filter(is_owned, storage.list_files(OPEN))
    }
    commits = {f"{commit.crawl}.{commit.shard}": commit for commit in read_commits(storage)}

    def is_orphan(path: str) -> bool:
        shard, generation = shard_of_part(path), generation_of_part(path)
        if generation:
            return generation < record.generation
        if path in merged or (shard in kept and path not in kept[shard]):
            return True
        return _is_retried(path, commits)

    return set(filter(is_orphan, uncounted))


def _is_retried(path: str, commits: Mapping[str, Commit]) -> bool:
    """Whether a part of `failures` was replaced by those of its shard's next commit."""
    commit = commits.get(shard_of_part(path))
    if commit is None or not commit.generation or not path.startswith("failures/"):
        return False
    numbers = [number_of_part(part.path) for part in commit.parts if part.kind == "failures"]
    return number_of_part(path) < max(numbers, default=number_of_part(path) + 1)


def _committed(storage: Storage, path: str) -> set[str]:
    """The parts of an open shard that were committed before, and stay."""
    shard = path.removeprefix(f"{OPEN}/").removesuffix(".json")
    try:
        record = json.loads(storage.read(path))
        parts = set(record["committed"])
        is_valid = is_owned(path) and set(record) == {"committed"}
        if is_valid and all(is_part_path(part) and shard_of_part(part) == shard for part in parts):
            return parts
    except (ValueError, KeyError, TypeError):
        pass
    raise storage.error(path, "corrupt record of an open shard; move it away")
