"""Parquet parts, their commits, and the dataset they make."""

from harvester.dataset.commits import Commit, Part
from harvester.dataset.compaction import Compaction, CompactionOptions
from harvester.dataset.directory import Dataset
from harvester.dataset.lock import Lock
from harvester.dataset.marks import Marks, SeriesMark
from harvester.dataset.names import KINDS, Kind, Partition
from harvester.dataset.pruning import Pruned
from harvester.dataset.schema import (
    FAILURE_COLUMNS,
    FRAME_COLUMNS,
    HARVEST_COLUMNS,
    INSTANCE_COLUMNS,
    PARTITION_COLUMNS,
    REMAINDER_COLUMNS,
)
from harvester.dataset.shard import ShardWriter
from harvester.dataset.snapshot import Snapshot

__all__ = [
    "FAILURE_COLUMNS",
    "FRAME_COLUMNS",
    "HARVEST_COLUMNS",
    "INSTANCE_COLUMNS",
    "KINDS",
    "PARTITION_COLUMNS",
    "REMAINDER_COLUMNS",
    "Commit",
    "Compaction",
    "CompactionOptions",
    "Dataset",
    "Kind",
    "Lock",
    "Marks",
    "Part",
    "Partition",
    "Pruned",
    "SeriesMark",
    "ShardWriter",
    "Snapshot",
]
