import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from threading import Event

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hex_names import hex_name

from harvester.dataset import CompactionOptions, Dataset, Partition
from harvester.dataset.maintenance import compact
from harvester.errors import DatasetError
from harvester.model import Failure
from harvester.query import open_dataset, run_query

AT_ONCE = CompactionOptions(keep=timedelta(0))


def add(dataset: Dataset, shard: str, rows: int = 10, *, crawl: str = "crawl", **columns: pa.Array) -> None:
    """A shard with rows of two modalities, in another order than theirs, and a failure."""
    writer = dataset.shard_writer(hex_name(crawl), hex_name(shard))
    for modality in ("CT", "MR"):
        uids = [f"{modality}.{shard}.{number:03}" for number in reversed(range(rows))]
        series = [f"{number % 3}.{modality}" for number in reversed(range(rows))]
        table = {"SOPInstanceUID": uids, "SeriesInstanceUID": series, **columns}
        writer.write_instances(pa.table(table), Partition("c", modality))
    writer.write_failures([Failure(f"s3://b/{shard}", "truncated", "ends")], harvester_version="1")
    writer.commit([shard], requests=1, bytes_fetched=1, seconds=1, versions={})


def compacted(dataset: Dataset, options: CompactionOptions = AT_ONCE):
    with dataset.lock() as lock:
        return dataset.compact(lock, options)


def asked(dataset: Dataset, sql: str = "SELECT SOPInstanceUID FROM instances ORDER BY 1") -> list:
    with open_dataset(dataset.location) as connection:
        return [
            tuple(row.values()) for batch in run_query(connection, sql).batches() for row in batch.to_pylist()
        ]


def files(dataset: Dataset, folder: str = "") -> list[str]:
    root = Path(dataset.location)
    found = (path for path in (root / folder).rglob("*") if path.is_file() and path.name != "lock")
    return sorted(str(path.relative_to(root)) for path in found)


@pytest.fixture
def dataset(tmp_path):
    dataset = Dataset.create(tmp_path / "ds")
    for shard in range(4):
        add(dataset, str(shard))
    return dataset


def test_each_partition_becomes_one_part_in_order_of_series(dataset):
    before = asked(dataset)
    done = compacted(dataset)
    assert (done.partitions, done.rows, done.parts_before, done.parts_after) == (2, 80, 8, 2)
    assert asked(dataset) == before
    paths = files(dataset, "instances")
    assert len(paths) == 2
    for path in paths:
        table = pq.read_table(Path(dataset.location) / path, partitioning=None)
        keys = list(
            zip(table["SeriesInstanceUID"].to_pylist(), table["SOPInstanceUID"].to_pylist(), strict=True)
        )
        assert keys == sorted(keys)
    assert done.bytes_after == sum((Path(dataset.location) / path).stat().st_size for path in paths)


def test_parts_of_unlike_columns_become_one_schema(dataset):
    code = pa.array([[{"CodeValue": "1", "CodeMeaning": "one"}]] * 10)
    add(dataset, "kernel", ConvolutionKernel=pa.array([["B30f"]] * 10), ViewCodeSequence=code)
    add(dataset, "scheme", ViewCodeSequence=pa.array([[{"CodingSchemeDesignator": "SCT"}]] * 10))
    question = (
        "SELECT ViewCodeSequence[1].CodeValue, ViewCodeSequence[1].CodingSchemeDesignator,"
        " ConvolutionKernel[1], count(*) FROM instances GROUP BY ALL ORDER BY ALL"
    )
    before = asked(dataset, question)
    compacted(dataset)
    assert asked(dataset, question) == before
    assert before == [("1", None, "B30f", 20), (None, "SCT", None, 20), (None, None, None, 80)]


def test_parts_with_and_without_empty_elements_unite(dataset):
    add(dataset, "4", rows=2, empty_elements=pa.array([["PatientName"], []], pa.list_(pa.string())))
    sql = "SELECT SOPInstanceUID, empty_elements FROM instances WHERE Modality = 'CT' ORDER BY 1"
    nothing = [(f"CT.{shard}.{number:03}", None) for shard in range(4) for number in range(10)]
    expected = [*nothing, ("CT.4.000", []), ("CT.4.001", ["PatientName"])]
    assert asked(dataset, sql) == expected
    compacted(dataset)
    assert asked(dataset, sql) == expected
    assert asked(
        dataset, f"SELECT count(*) FROM ({sql}) WHERE list_contains(empty_elements, 'PatientName')"
    ) == [(1,)]


def test_a_second_time_nothing_is_left_to_do(dataset):
    compacted(dataset)
    before = files(dataset)
    assert compacted(dataset).partitions == 0
    assert files(dataset) == before


def test_later_shards_are_merged_with_what_was_compacted(dataset):
    compacted(dataset)
    add(dataset, "later", crawl="other")
    before = asked(dataset)
    assert len(before) == 100
    done = compacted(dataset)
    assert (done.parts_before, done.parts_after, done.rows) == (4, 2, 100)
    assert asked(dataset) == before
    assert len(files(dataset, "instances")) == 2


def test_only_partitions_that_grew_are_written_anew(dataset):
    compacted(dataset)
    writer = dataset.shard_writer(hex_name("other"), hex_name("one"))
    writer.write_instances(pa.table({"SOPInstanceUID": ["new"]}), Partition("c", "CT"))
    writer.commit(["one"], requests=1, bytes_fetched=1, seconds=1, versions={})
    old = {path for path in files(dataset, "instances") if "Modality=MR" in path}
    assert compacted(dataset).partitions == 1
    assert old < set(files(dataset, "instances"))


def test_failures_and_commits_stay_as_they_are(dataset):
    before = list(dataset.commits())
    failures = files(dataset, "failures")
    compacted(dataset)
    assert list(dataset.commits()) == before
    assert files(dataset, "failures") == failures
    assert asked(dataset, "SELECT count(*) FROM failures") == [(4,)]


def counted(connection) -> int:
    (batch,) = run_query(connection, "SELECT count(*) FROM instances").batches()
    return batch.column(0)[0].as_py()


def test_who_opened_it_before_goes_on_reading(dataset):
    with open_dataset(dataset.location) as early:
        compacted(dataset, CompactionOptions())
        add(dataset, "later")
        compacted(dataset, CompactionOptions())
        assert counted(early) == 80
        with open_dataset(dataset.location) as late:
            assert counted(late) == 100


def test_what_was_replaced_goes_when_its_time_is_over(dataset):
    compacted(dataset, CompactionOptions())
    assert len(files(dataset, "_harvest/replaced")) == 8
    add(dataset, "later")
    compacted(dataset)
    kept = files(dataset, "_harvest/replaced")
    assert {path.split("/")[2] for path in kept} == {"0"}  # the later ones were kept for no time
    assert len(kept) == 8


def compacted_meanwhile(dataset: Dataset, options: CompactionOptions, read: Callable[[], None]) -> int:
    """Add and compact again and again, while somebody reads; return how often that was."""
    before, ended = [0], Event()

    def read_on() -> None:
        while not ended.is_set():
            read()
            before[0] += 1

    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read_on)
        try:
            for number in range(8):
                add(dataset, f"more{number}")
                compacted(dataset, options)
        finally:
            ended.set()
        reading.result()
    return before[0]


def test_readers_meanwhile_see_each_row_once(dataset):
    seen = []
    question = "SELECT count(*), count(DISTINCT SOPInstanceUID) FROM instances"
    assert (
        compacted_meanwhile(dataset, CompactionOptions(), lambda: seen.extend(asked(dataset, question))) > 1
    )
    assert all(rows == distinct and rows % 10 == 0 for rows, distinct in seen)
    assert seen == sorted(seen)


def test_a_dataset_opens_though_parts_go_that_are_kept_for_nobody(dataset, monkeypatch):
    read_snapshot = Dataset.snapshot

    def compacted_behind(opened: Dataset):
        monkeypatch.setattr(Dataset, "snapshot", read_snapshot)
        found = opened.snapshot()
        compacted(dataset)
        return found

    monkeypatch.setattr(Dataset, "snapshot", compacted_behind)
    assert asked(dataset, "SELECT count(*) FROM instances") == [(80,)]


def test_a_stranger_beside_the_parts_stays_where_it_is(dataset):
    note = Path(dataset.location) / "instances/collection_id=c/Modality=CT/notes.txt"
    note.write_text("mine")
    compacted(dataset)
    assert note.read_text() == "mine"


def test_parts_are_closed_when_they_are_large(dataset, monkeypatch):
    texts = pa.array([str(number) * 100 for number in range(70_000)])
    add(dataset, "large", 70_000, PatientComments=texts)
    monkeypatch.setattr(compact, "PART_BYTES", 10_000)
    done = compacted(dataset)
    assert done.parts_after == 4
    assert done.rows == 140_080
    assert asked(dataset, "SELECT count(*) FROM instances") == [(140_080,)]


def test_its_progress_ends_with_all_rows(dataset):
    told = []
    compacted(dataset, CompactionOptions(report=lambda done, total: told.append((done, total))))
    assert told[-1] == (80, 80)
    assert told == sorted(told)


def test_a_dataset_without_rows_has_nothing_to_merge(tmp_path):
    dataset = Dataset.create(tmp_path / "ds")
    done = compacted(dataset)
    assert (done.partitions, done.rows) == (0, 0)


def test_a_missing_part_is_named_and_the_rest_stays(dataset):
    part = dataset.parts("instances")[0]
    (Path(dataset.location) / part.path).unlink()
    before = files(dataset)
    with pytest.raises(DatasetError, match=part.path):
        compacted(dataset)
    assert files(dataset) == before


@pytest.mark.parametrize("rows", [9, 11])
def test_a_part_that_is_not_the_one_committed_is_named(dataset, rows):
    part = dataset.parts("instances")[0]
    pq.write_table(pa.table({"SOPInstanceUID": ["1"] * rows}), Path(dataset.location) / part.path)
    with pytest.raises(DatasetError, match=r"Modality=CT: the commits say 40 rows, its parts hold"):
        compacted(dataset)
    assert len(asked(dataset)) == 70 + rows


def test_a_part_that_is_cut_is_named(dataset):
    part = dataset.parts("instances")[0]
    file = Path(dataset.location) / part.path
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"Modality=CT.*stays as it is|cannot be read"):
        compacted(dataset)


# No file may grow past a few kilobytes: what a full disk answers, in a process of its own.
FULL = """
import resource, sys
from harvester.dataset import Dataset
from harvester.errors import DatasetError

dataset = Dataset.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
with dataset.lock() as lock:
    try:
        dataset.compact(lock)
    except DatasetError as error:
        print(error)
"""


def test_a_full_disk_changes_nothing(dataset):
    add(dataset, "long", 1000, PatientComments=pa.array([token_hex(40) for _ in range(1000)]))
    with dataset.lock() as lock:
        dataset.checkpoint(lock)
    before = asked(dataset)
    there = files(dataset)
    done = subprocess.run(
        [sys.executable, "-c", FULL, dataset.location],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.count("\n") == 1
    assert "File too large" in done.stdout
    assert "stay" in done.stdout
    assert asked(dataset) == before
    assert files(dataset) == there
