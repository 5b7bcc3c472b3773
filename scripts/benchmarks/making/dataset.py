"""A dataset like a crawl's, written by the crawl's writer from synthetic rows."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import pyarrow.compute as pc

from harvester.catalog import open_catalog
from harvester.config import load
from harvester.dataset import Dataset, Partition
from harvester.engine.plan import in_order, make_shards, plan_name
from harvester.engine.shard import VERSIONS
from harvester.model import Plan, Shard
from making.rows import RowMaker
from making.selection import select_series

# Rows that are made at once: enough to be quick, few enough that memory stays in bounds.
_ROWS_AT_ONCE = 24_000


@dataclass(frozen=True)
class Made:
    """What was written: how many instances, failures and parts."""

    instances: int
    failures: int
    parts: int


def make_dataset(
    target: Path,
    instances: int,
    *,
    collections: int | None = None,
    shard_instances: int = 2000,
    processes: int = 0,
) -> Made:
    """Write a dataset, and beside it the catalog and the configuration of the crawl that it could be of.

    Args:
        target: Where to; `target.toml` and `target.catalog.parquet` are written beside it.
        instances: About how many objects the crawl met.
        collections: Of how many collections, the largest; None means all.
        shard_instances: The bound of a shard, and so of a part.
        processes: How many write; 0 means one a core.

    Raises:
        DatasetError: The target is there already, or cannot be written.
        ValueError: The installed release has fewer instances.
    """
    catalog = target.with_name(f"{target.name}.catalog.parquet")
    configuration = target.with_name(f"{target.name}.toml")
    dataset = Dataset.create(target)
    select_series(instances, catalog, collections)
    configuration.write_text(
        "# The crawl whose harvest scripts/benchmarks/made_dataset.py synthesised.\n"
        f'dataset = "{target.name}"\n\n[source]\ncatalog = "{catalog.name}"\n'
        f"\n[limits]\nshard_instances = {shard_instances}\n"
    )
    config = load(configuration)
    with open_catalog(config) as opened:
        shards = tuple(make_shards(in_order(opened.series()), config.limits))
    plan = Plan(plan_name(shard.name for shard in shards), shards)
    with dataset.lock() as lock:
        dataset.save_plan(plan)
        arguments = (target, catalog, plan.name)
        with ProcessPoolExecutor(
            processes or os.cpu_count() or 1, get_context("spawn"), initializer=_begin, initargs=arguments
        ) as pool:
            # The largest first, so that no process is left with one of them at the end.
            batches = sorted(_batches(plan.shards), key=_weight, reverse=True)
            made = list(pool.map(_write, batches))
        dataset.checkpoint(lock)
    return Made(*(sum(counts) for counts in zip(*made, strict=True)))


def _batches(shards: Iterable[Shard]) -> Iterator[tuple[Shard, ...]]:
    """Neighbours of one collection and modality, as many as may be made at once."""
    for _, neighbours in groupby(
        shards, lambda shard: (shard.series[0].collection_id, shard.series[0].modality)
    ):
        batch: list[Shard] = []
        for shard in neighbours:
            if batch and _weight([*batch, shard]) > _ROWS_AT_ONCE:
                yield tuple(batch)
                batch = []
            batch.append(shard)
        yield tuple(batch)


def _weight(shards: Iterable[Shard]) -> int:
    return sum(series.instance_count or 0 for shard in shards for series in shard.series)


@dataclass(frozen=True)
class _Process:
    """What one of the writing processes has."""

    dataset: Dataset
    crawl: str
    maker: RowMaker


_process: list[_Process] = []


def _begin(target: Path, catalog: Path, crawl: str) -> None:
    _process.append(_Process(Dataset.open(target), crawl, RowMaker(catalog)))


def _write(shards: tuple[Shard, ...]) -> tuple[int, int, int]:
    """Write the parts and commits of some shards; return their instances, failures and parts."""
    (process,) = _process
    first = shards[0].series[0]
    partition = Partition(first.collection_id, first.modality)
    instances = failures = parts = 0
    for shard, rows in zip(shards, process.maker.make(shards), strict=True):
        writer = process.dataset.shard_writer(process.crawl, shard.name)
        writer.write_instances(rows.instances, partition)
        writer.write_frames(rows.frames, partition)
        writer.write_failures(rows.failures, harvester_version=VERSIONS["harvester"])
        commit = writer.commit(
            rows.counts,
            requests=pc.sum(rows.instances.column("requests")).as_py() or 0,
            bytes_fetched=pc.sum(rows.instances.column("bytes_fetched")).as_py() or 0,
            seconds=rows.instances.num_rows / 1000,
            versions=VERSIONS,
        )
        instances, failures = instances + commit.instances, failures + commit.failures
        parts += len(commit.parts)
    return instances, failures, parts
