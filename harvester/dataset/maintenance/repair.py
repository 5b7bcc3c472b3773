"""Rebuilds lost or corrupt records from the parts, the commits and the plans, where that is certain.

A compaction merges all parts of a folder at once, so the parts that lie in a folder show what was merged: the
rows of a part are in the compacted parts or not. What they do not show is reported and left.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain

import pyarrow as pa

from harvester.dataset.commits import Commit, Part, commit_stamps, read_commits_at, write_commit
from harvester.dataset.maintenance.damage import find_damage, lost_commits, present_parts, snapshot_damage
from harvester.dataset.paths import (
    COMMITS,
    NEXT_SNAPSHOT,
    OPEN,
    SNAPSHOT,
    STAGED,
    TABLES,
    TableName,
    commit_path,
    generation_of_part,
    is_owned,
    shard_of_part,
    split_path,
)
from harvester.dataset.plans import load_plan
from harvester.dataset.schema_merge import unite
from harvester.dataset.snapshot import Record, kept_generations, read_record, with_columns, write_record
from harvester.dataset.storage import Storage
from harvester.dataset.tombstones import read_marks
from harvester.errors import DatasetError

_KEEP = timedelta(hours=24)
_KEYS = ("instance_url", "SOPInstanceUID")


@dataclass(frozen=True, slots=True)
class Repair:
    """The result of a repair.

    Attributes:
        rebuilt: Records that were rebuilt, or would be.
        undecided: What cannot be decided from what is there; empty: the dataset is whole.
    """

    rebuilt: tuple[str, ...]
    undecided: tuple[str, ...]


def repair(storage: Storage, *, dry_run: bool = False) -> Repair:
    """Rebuild what is certain; nothing is deleted but a snapshot that was never published.

    Args:
        storage: The dataset's files, under its lock.
        dry_run: Only report.

    Raises:
        DatasetError: A file cannot be read or written.
    """
    try:
        read_marks(storage)
    except DatasetError as error:
        return Repair((), (str(error),))
    rebuilding = _Rebuilding(storage, present_parts(storage))
    if not rebuilding.is_damaged(find_damage):
        return Repair((), ())
    rebuilding.collect_commits()
    record = rebuilding.build_snapshot() if rebuilding.is_damaged(snapshot_damage) else None
    if rebuilding.undecided:
        return Repair((), tuple(rebuilding.undecided))
    done = [commit_path(commit.crawl, commit.shard) for commit in rebuilding.new_commits]
    if not dry_run:
        for commit in rebuilding.new_commits:
            write_commit(storage, commit)
    if record is not None:
        done.append(
            f"{SNAPSHOT} ({len(record.compacted):,} compacted parts, {len(record.merged):,} merged parts)"
        )
        if not dry_run:
            write_record(storage, SNAPSHOT, record)
            storage.delete(NEXT_SNAPSHOT)
    left = () if dry_run and done else find_damage(storage, rebuilding.present)
    return Repair(tuple(done), tuple(left))


@dataclass(slots=True)
class _Rebuilding:
    storage: Storage
    present: set[str]
    commits: list[Commit] = field(default_factory=list)
    new_commits: list[Commit] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)

    def is_damaged(self, find: Callable[[Storage, set[str]], list[str]]) -> bool:
        try:
            return bool(find(self.storage, self.present))
        except DatasetError:
            return True

    def collect_commits(self) -> None:
        """Read all commits, and rebuild those that are corrupt or that the snapshot misses."""
        try:
            record = read_record(self.storage) or Record()
        except DatasetError:
            record = Record()
        there = set(commit_stamps(self.storage))
        for path in sorted(there.union(record.commits, lost_commits(self.storage, self.present))):
            try:
                if path not in there:
                    raise self.storage.error(path, "missing")
                self.commits += read_commits_at(self.storage, [path])
            except DatasetError as error:
                self._rebuild_commit(path, str(error))

    def _rebuild_commit(self, path: str, reason: str) -> None:
        """A shard's commit from its plan, which says which series it has, and its parts."""
        name = path.removeprefix(f"{COMMITS}/").removesuffix(".json")
        crawl, _, shard = name.partition(".")
        plan = load_plan(self.storage, crawl) if is_owned(path) else None
        planned = next((one for one in plan.shards if one.name == shard), None) if plan else None
        parts = [self._part(part) for part in sorted(self.present) if shard_of_part(part) == name]
        retried = sum(part.kind == "failures" for part in parts) > 1
        if planned is None or retried or self.storage.exists(f"{OPEN}/{name}.json"):
            self.undecided.append(
                f"{reason}; plan and parts do not show what it said: restore it from a copy"
            )
            return
        commit = Commit(
            crawl=crawl,
            shard=shard,
            series=tuple(series.key for series in planned.series),
            parts=tuple(parts),
            requests=0,
            bytes_fetched=0,
            seconds=0.0,
            committed_at=datetime.now(UTC),
        )
        self.commits.append(commit)
        self.new_commits.append(commit)

    def build_snapshot(self) -> Record:
        """The snapshot that the parts show."""
        compacted: list[Part] = []
        merged: list[str] = []
        named = {part.path: part for commit in self.commits for part in commit.parts}
        written = {path for path in self.present if generation_of_part(path)}
        folders: dict[str, list[str]] = {}
        for path in sorted(written | set(named)):
            folders.setdefault(split_path(path)[0], []).append(path)
        wrong = []
        for folder, paths in folders.items():
            new, old = self._decide(paths)
            compacted += new
            merged += (path for path in old if path in named)
            rows = sum(part.rows for part in new) - sum(named[path].rows for path in old if path in named)
            if new and rows:
                wrong.append(f"{folder}: {abs(rows):,} rows {'more' if rows > 0 else 'fewer'}")
        if wrong and not self._equals_counts(compacted, named, merged):
            self.undecided += [
                f"{what} in its compacted parts than in the parts that they replace, which a prune can "
                f"explain: restore {SNAPSHOT} from a copy"
                for what in wrong
            ]
        self.undecided += [
            f"{path}: a compaction was interrupted here"
            for path in self.storage.list_files(STAGED)
            if ".aside/" in path
        ]
        kept = kept_generations(self.storage)
        numbers = [*map(generation_of_part, written), *(number + 1 for number in kept)]
        record = Record(
            generation=max(numbers, default=0),
            compacted=tuple(compacted),
            merged=tuple(merged),
            kept=dict.fromkeys(kept, datetime.now(UTC) + _KEEP),
        )
        return with_columns(record, {table: self._columns(compacted, table) for table in TABLES})

    def _decide(self, paths: list[str]) -> tuple[list[Part], list[str]]:
        """Which compacted parts of a folder count, and which of its parts are merged in them."""
        written = [path for path in paths if generation_of_part(path)]
        absent = [path for path in paths if path not in self.present]
        if not written:
            self.undecided += [f"{path} is missing, and no compaction has merged it" for path in absent]
            return [], []
        newest = max(map(generation_of_part, written))
        counting = [path for path in written if generation_of_part(path) == newest]
        keys = set(chain.from_iterable(map(self._keys, counting)))
        merged = absent
        for path in (path for path in paths if path in self.present and path not in counting):
            own = set(self._keys(path))
            if own <= keys:
                merged.append(path)
            elif own & keys:
                self.undecided.append(f"{path}: some of its rows are in compacted parts, and some are not")
            elif generation_of_part(path):
                counting.append(path)
        return [self._part(path) for path in counting], merged

    def _equals_counts(self, compacted: list[Part], named: dict[str, Part], merged: list[str]) -> bool:
        """Whether `instances` has as many rows as the commits count for the series that they have."""
        if any(set(commit.counts) != set(commit.series) for commit in self.commits):
            return False
        counted = [*compacted, *(part for path, part in named.items() if path not in set(merged))]
        rows = sum(part.rows for part in counted if part.kind == "instances")
        return rows == sum(instances for commit in self.commits for instances, _ in commit.counts.values())

    def _part(self, path: str) -> Part:
        with self.storage.part_reader(path) as file:
            rows = file.metadata.num_rows
        size = self.storage.stamps(split_path(path)[0])[path][0]
        return Part(path, rows, size)

    def _keys(self, path: str) -> Iterator[tuple[str | None, ...]]:
        with self.storage.part_reader(path) as file:
            columns = [name for name in _KEYS if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=columns):
                yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)

    def _columns(self, parts: Iterable[Part], table: TableName) -> pa.Schema:
        schemas = []
        for part in (part for part in parts if part.kind == table):
            with self.storage.part_reader(part.path) as file:
                schemas.append(file.schema_arrow)
        return unite(schemas)
