"""Measurements: `quantitative_measurements` over hundreds of thousands of TID 1500 reports."""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import anyio
import pyarrow as pa
import pyarrow.compute as pc

from harvester.config import load
from harvester.dataset import Dataset, Partition
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.query import open_dataset, run_query

_TESTS = Path(__file__).resolve().parents[2] / "tests"
_QUERIES = {"reports": "SELECT SOPInstanceUID FROM instances WHERE Modality = 'SR'"}
_SHARD_ROWS = 2000
_VARIANTS = 40


def main() -> None:
    """Make the reports if they are not there, and count the rows of the tables of measurements."""
    parser = argparse.ArgumentParser(prog="scripts/bench reports", description=__doc__)
    parser.add_argument("--reports", type=int, default=271_000, help="as many as IDC has")
    parser.add_argument("--folder", type=Path, help="where the dataset is made, kept, and found again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reports-benchmark-") as temporary:
        target = (arguments.folder or Path(temporary)) / "reports"
        if not target.exists():
            make_reports(target, arguments.reports)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        with open_dataset(target) as connection:
            for table in ("reports", "quantitative_measurements", "qualitative_measurements"):
                wall, cpu = time.perf_counter(), time.process_time()
                result = run_query(connection, _QUERIES.get(table, f"SELECT * FROM {table}"))
                rows = sum(batch.num_rows for batch in result.batches())
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                print(f"{table}: {rows:,} rows in {wall:.1f} s, {cpu:.1f} s of CPU")


def make_reports(target: Path, reports: int) -> None:
    """Harvest a few reports that highdicom writes, and write them again and again under other UIDs."""
    sys.path.insert(0, str(_TESTS))
    from made_reports import write_cohort  # noqa: PLC0415  a module of the tests

    with tempfile.TemporaryDirectory(prefix="reports-benchmark-") as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(temporary)
        files = folder / "files"
        files.mkdir()
        write_cohort(files, _VARIANTS, _VARIANTS)
        toml = folder / "crawl.toml"
        toml.write_text(
            f'dataset = "{folder}/dataset"\n[source]\ncatalog = "local"\n[select]\nroot = "{files}"\n'
        )
        anyio.run(crawl, load(toml), CrawlProgress())
        with open_dataset(folder / "dataset") as connection:
            written = {
                modality: pa.Table.from_batches(
                    run_query(
                        connection,
                        "SELECT * EXCLUDE (superseded_in, superseded_at) FROM instances "
                        f"WHERE Modality = '{modality}'",
                    ).batches()
                )
                for modality in ("SR", "SEG")
            }
    dataset = Dataset.create(target)
    for number, (modality, shard) in enumerate(shards(written, reports)):
        writer = dataset.shard_writer(f"{1:016x}", f"{number:016x}")
        writer.write_instances(shard, Partition("made", modality))
        writer.commit([f"{modality}{number}"], requests=1, bytes_fetched=1, seconds=1, versions={})


def shards(written: dict[str, pa.Table], reports: int) -> Iterator[tuple[str, pa.Table]]:
    """The segmentations as they are, and as many reports as are wanted, shard by shard."""
    yield "SEG", written["SEG"]
    for first in range(0, reports, _SHARD_ROWS):
        rows = range(first, min(first + _SHARD_ROWS, reports))
        shard = written["SR"].take(pa.array([row % len(written["SR"]) for row in rows]))
        for name in ("SOPInstanceUID", "SeriesInstanceUID", "instance_url", "PatientID"):
            place = shard.column_names.index(name)
            numbers = pc.cast(pa.array(rows), pa.string())
            shard = shard.set_column(
                place, name, pc.binary_join_element_wise(shard[name].combine_chunks(), numbers, ".")
            )
        yield "SR", shard


if __name__ == "__main__":
    main()
