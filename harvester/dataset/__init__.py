"""Parquet parts, their commits, and the dataset they make."""

from harvester.dataset.commits import Commit, Part
from harvester.dataset.dataset import Dataset
from harvester.dataset.harvest_columns import (
    FAILURE_COLUMNS,
    FRAME_COLUMNS,
    HARVEST_COLUMNS,
    INSTANCE_COLUMNS,
    PARTITION_COLUMNS,
    REMAINDER_COLUMNS,
)
from harvester.dataset.lock import Lock
from harvester.dataset.maintenance.compact import Compaction, CompactionOptions
from harvester.dataset.maintenance.prune import Pruned
from harvester.dataset.maintenance.repair import Repair
from harvester.dataset.paths import TABLES, Partition, TableName
from harvester.dataset.shard_writer import ShardWriter
from harvester.dataset.snapshot import Snapshot
from harvester.dataset.tombstones import Tombstone, Tombstones

__all__ = [
    "FAILURE_COLUMNS",
    "FRAME_COLUMNS",
    "HARVEST_COLUMNS",
    "INSTANCE_COLUMNS",
    "PARTITION_COLUMNS",
    "REMAINDER_COLUMNS",
    "TABLES",
    "Commit",
    "Compaction",
    "CompactionOptions",
    "Dataset",
    "Lock",
    "Part",
    "Partition",
    "Pruned",
    "Repair",
    "ShardWriter",
    "Snapshot",
    "TableName",
    "Tombstone",
    "Tombstones",
]
