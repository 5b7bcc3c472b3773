"""A dataset in a bucket is what it is in a directory: whole commits, and readers survive a compaction."""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta

import pyarrow as pa
import pytest
from bucket_servers import Bucket
from hex_names import hex_name

from harvester.dataset import CompactionOptions, Dataset, Partition
from harvester.dataset.bucket import BucketStorage
from harvester.errors import DatasetError, QueryError
from harvester.model import Failure
from harvester.query import open_dataset, run_query

CT, MR = Partition("c", "CT"), Partition("c", "MR")


@pytest.fixture
def place(writable_bucket: Bucket, request: pytest.FixtureRequest) -> str:
    """A place in a bucket for one test."""
    return writable_bucket.place("tests/" + re.sub(r"\W+", "_", request.node.name))


def add(dataset: Dataset, shard: str, *rows: str, partition: Partition = CT, failed: int = 0) -> None:
    """Commit one shard with these instances."""
    writer = dataset.shard_writer(hex_name("crawl"), hex_name(shard))
    table = pa.table({"SOPInstanceUID": list(rows), "SeriesInstanceUID": [shard] * len(rows)})
    writer.write_instances(table, partition)
    failures = [Failure(f"s3://b/{shard}.{n}", "truncated", "ends") for n in range(failed)]
    writer.write_failures(failures, harvester_version="1")
    writer.commit([shard], requests=1, bytes_fetched=1, seconds=1, versions={})


def asked(place: str, sql: str) -> list[tuple[object, ...]]:
    with open_dataset(place) as connection:
        return answer(connection, sql)


def answer(connection: object, sql: str) -> list[tuple[object, ...]]:
    rows = [row for batch in run_query(connection, sql).batches() for row in batch.to_pylist()]  # type: ignore[arg-type]
    return [tuple(row.values()) for row in rows]


UIDS = "SELECT SOPInstanceUID FROM instances ORDER BY 1"


def test_what_was_committed_answers_sql_and_nothing_else_does(place: str) -> None:
    dataset = Dataset.create(place)
    add(dataset, "one", "1.1", "1.2", failed=1)
    add(dataset, "two", "2.1", partition=MR)
    dataset.shard_writer(hex_name("crawl"), hex_name("three")).write_instances(
        pa.table({"SOPInstanceUID": ["3.1"]}), CT
    )
    assert asked(place, UIDS) == [("1.1",), ("1.2",), ("2.1",)]
    by_folder = "SELECT Modality, collection_id, count(*) FROM instances GROUP BY ALL ORDER BY 1"
    assert asked(place, by_folder) == [("CT", "c", 2), ("MR", "c", 1)]
    assert asked(place, "SELECT instance_url, reason FROM failures") == [("s3://b/one.0", "truncated")]
    assert asked(place, "SELECT count(*) FROM frames") == [(0,)]
    assert Dataset.open(place).location == place


def test_the_sweep_deletes_what_no_commit_names(place: str) -> None:
    dataset = Dataset.create(place)
    add(dataset, "one", "1.1")
    left = dataset.shard_writer(hex_name("crawl"), hex_name("two")).write_instances(
        pa.table({"SOPInstanceUID": ["2.1"]}), CT
    )
    assert left is not None
    with dataset.lock() as lock:
        open_shard = f"_harvest/open/{hex_name('crawl')}.{hex_name('two')}.json"
        assert dataset.sweep(lock) == [left.path, open_shard]
        dataset.checkpoint(lock)
    assert asked(place, UIDS) == [("1.1",)]


def test_a_compaction_changes_nothing_for_those_who_read_before_or_after(place: str) -> None:
    dataset = Dataset.create(place)
    for shard in range(4):
        add(dataset, f"s{shard}", *(f"{shard}.{n}" for n in range(5)), failed=1)
    before = asked(place, UIDS)
    with open_dataset(place) as early:
        with dataset.lock() as lock:
            done = dataset.compact(lock)
        assert (done.partitions, done.rows, done.parts_before, done.parts_after) == (1, 20, 4, 1)
        assert answer(early, UIDS) == before
    assert asked(place, UIDS) == before
    there = list(dataset.storage.list_files("instances"))
    assert there == [part.path for part in dataset.parts("instances")]
    add(dataset, "later", "9.1")
    with dataset.lock() as lock:
        dataset.compact(lock, CompactionOptions(keep=timedelta(0)))
        dataset.sweep(lock)
    assert asked(place, UIDS) == [*before, ("9.1",)]
    assert asked(place, "SELECT count(*) FROM failures") == [(4,)]


def test_a_query_reaches_nothing_but_the_parts(place: str, writable_bucket: Bucket) -> None:
    dataset = Dataset.create(place)
    add(dataset, "one", "1.1")
    elsewhere = Dataset.create(writable_bucket.place("tests/elsewhere"))
    add(elsewhere, "one", "1.1")
    (part,) = elsewhere.parts("instances")
    root = f"{writable_bucket.scheme}://{writable_bucket.name}/tests"
    with open_dataset(place) as connection:
        for forbidden in (
            f"SELECT * FROM read_parquet('{root}/elsewhere/{part.path}')",
            f"SELECT * FROM read_json('{dataset.storage.folder}/_harvest/dataset.json')",
            f"SELECT * FROM read_text('{dataset.storage.folder}/_harvest/lock.json')",
            "SELECT * FROM read_text('/etc/passwd')",
        ):
            with pytest.raises(QueryError):
                answer(connection, forbidden)
        with pytest.raises(Exception, match=r"only read|cannot|Cannot"):
            connection.execute(f"COPY (SELECT 1) TO '{dataset.storage.folder}/evil.csv'")
    assert not dataset.storage.exists("evil.csv")


def test_a_commit_that_is_replaced_within_a_second_is_another_one(place: str) -> None:
    dataset = Dataset.create(place)
    add(dataset, "one", "1.1", failed=1)
    with dataset.lock() as lock:
        dataset.checkpoint(lock)
    for _ in range(3):
        commit = dataset.find_commit(hex_name("crawl"), hex_name("one"))
        writer = dataset.shard_writer(hex_name("crawl"), hex_name("one"), replacing=commit)
        writer.write_failures([Failure("s3://b/one.0", "truncated", "ends")], harvester_version="1")
        writer.commit({"one": (1, 1)}, requests=1, bytes_fetched=1, seconds=1, versions={})
        assert asked(place, "SELECT count(*) FROM failures") == [(1,)]
    assert [part.path for part in dataset.parts("failures")] == list(dataset.storage.list_files("failures"))


def test_what_is_in_the_way_or_missing_is_told(place: str, writable_bucket: Bucket) -> None:
    with pytest.raises(DatasetError, match="no such dataset; make it by `harvester crawl`"):
        Dataset.open(place)
    with pytest.raises(DatasetError, match=r"there is no bucket 'no-such-bucket' at http.*make it"):
        Dataset.open(f"{writable_bucket.scheme}://no-such-bucket/ds?endpoint={writable_bucket.endpoint}")
    with pytest.raises(DatasetError, match="there is no bucket 'no-such-bucket'"):
        Dataset.create(f"{writable_bucket.scheme}://no-such-bucket/ds?endpoint={writable_bucket.endpoint}")
    dataset = Dataset.create(place)
    with dataset.storage.filesystem.open_output_stream(dataset.storage.file("stranger/notes.txt")) as stream:
        stream.write(b"x")
    with pytest.raises(DatasetError, match=r"_harvest/dataset\.json is missing"):
        Dataset.open(place.replace("?", "/stranger?"))
    with pytest.raises(DatasetError, match="holds other things"):
        Dataset.create(place.replace("?", "/stranger?"))


def test_a_failed_write_leaves_nothing(place: str) -> None:
    dataset = Dataset.create(place)

    def write_half() -> None:
        with dataset.storage.write("_harvest/marks.parquet") as stream:
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert not dataset.storage.exists("_harvest/marks.parquet")
    with dataset.storage.write("_harvest/marks.parquet"):
        pass
    assert dataset.storage.read("_harvest/marks.parquet") == b""


class Killed(BaseException):
    """As SIGKILL: nothing that is written for errors runs to good effect after it."""


def compacted_until(dataset: Dataset, requests: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Compact, and die at the request that comes after so many; tells whether it got to its end."""
    left = [requests]

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def step(*arguments: object) -> None:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            real(*arguments)

        return step

    with monkeypatch.context() as dying:
        for name in ("_put", "copy", "delete"):
            dying.setattr(BucketStorage, name, counted(getattr(BucketStorage, name)))
        try:
            with dataset.lock() as lock:
                dataset.compact(lock)
        except Killed:
            return False
    return True


@pytest.mark.parametrize("writable_bucket", ["s3"], indirect=True)
@pytest.mark.parametrize(
    "steps",
    [[5, 8], pytest.param(range(60), marks=pytest.mark.slow)],
    ids=["some requests", "all requests"],
)
def test_a_compaction_killed_between_two_requests_has_each_row_once(
    place: str, steps: Iterable[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in steps:
        dataset = Dataset.create(place.replace("?", f"/{step}?"))
        for shard in range(2):
            add(dataset, f"s{shard}", f"{shard}.1", f"{shard}.2")
        before = asked(dataset.location, UIDS)
        with open_dataset(dataset.location) as early:
            ended = compacted_until(dataset, step, monkeypatch)
            assert asked(dataset.location, UIDS) == before, step
            assert answer(early, UIDS) == before, step
        with dataset.lock() as lock:
            dataset.compact(lock)
            dataset.sweep(lock)
        assert asked(dataset.location, UIDS) == before, step
        (part,) = dataset.parts("instances")
        assert list(dataset.storage.list_files("instances")) == [part.path]
        assert list(dataset.storage.list_files("_harvest/staged")) == []
        if ended:
            assert step > 9
            return
