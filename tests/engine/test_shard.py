"""One shard at work: its parts, its failures, and what no object and no server may break."""

import pickle
import threading
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import pyarrow.parquet as pq
import pytest
from hex_names import hex_name
from made_part10 import element, part10
from memory_store import MemoryStore

from harvester.config import LimitsConfig
from harvester.dataset import Dataset, ShardWriter
from harvester.dicom import Header, InstanceColumns
from harvester.engine.shard import CrawlProgress, HarvestOptions, ShardHarvest, ShardResult
from harvester.engine.shard_task import ShardTask, WorkerSettings, open_task_runner
from harvester.errors import HeaderLimitError
from harvester.fetch.headers import HeaderFetcher
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse, Series, Shard


def readers(number: int) -> anyio.Semaphore:
    return anyio.Semaphore(number, max_value=number)


def dicom(number: int, modality: bytes = b"CT") -> bytes:
    uid = element(0x00080018, "UI", b"1.2.%04d" % number)
    return part10(uid, element(0x00080060, "CS", modality), element(0x7FE00010, "OW", bytes(100)))


def named_series(name: str, raws: Sequence[bytes], store: MemoryStore, **known: Any) -> Series:
    refs = [store.put(f"s3://b/{name}/{number:04d}.dcm", raw) for number, raw in enumerate(raws)]
    objects = tuple(ListedObject(ref, len(raw)) for ref, raw in zip(refs, raws, strict=True))
    return Series(name, (ObjectRef("b", f"{name}/"),), objects, **known)


class Harvested:
    """A shard that was harvested into a new dataset."""

    def __init__(self, folder: Path, store: MemoryStore, *series: Series, concurrency: int = 8) -> None:
        self.dataset = Dataset.create(folder / "dataset")
        self.progress = CrawlProgress()
        writer = self.dataset.shard_writer(hex_name("crawl"), hex_name("shard"))
        self.work = ShardHarvest(
            Shard("shard", series), HeaderFetcher(store), writer, self.progress, readers(concurrency)
        )
        anyio.run(self.work.run)

    def rows(self, kind: Any = "instances") -> list[dict[str, Any]]:
        root = Path(self.dataset.location)
        return [
            row
            for part in self.dataset.parts(kind)
            for row in pq.ParquetFile(root / part.path).read().to_pylist()
        ]


def test_a_shard_is_committed_with_the_counts_of_its_series(tmp_path: Path) -> None:
    store = MemoryStore()
    one = named_series("one", [dicom(1), dicom(2)], store, collection_id="c", modality="CT")
    two = named_series("two", [dicom(3), b"no dicom"], store, collection_id="c", modality="CT")
    gone = Series("gone", (ObjectRef("b", "gone/"),), instance_count=3)
    harvested = Harvested(tmp_path, store, one, two, gone)
    (commit,) = harvested.dataset.commits()
    assert commit.series == ("one", "two", "gone")
    assert commit.counts == {"one": (2, 0), "two": (1, 1), "gone": (0, 1)}
    assert (commit.instances, commit.failures) == (3, 2)
    assert commit.requests == harvested.progress.requests == store.requests + 1  # one listing
    assert harvested.progress.bytes_fetched == store.bytes_fetched == commit.bytes_fetched
    assert harvested.progress.series == 3


def test_rows_lie_in_the_partition_of_the_catalog_else_of_the_header(tmp_path: Path) -> None:
    store = MemoryStore()
    told = named_series("told", [dicom(1)], store, collection_id="c", modality="MR")
    untold = named_series("untold", [dicom(2), dicom(3, b"PT")], store)
    harvested = Harvested(tmp_path, store, told, untold)
    folders = {part.path.rpartition("/")[0] for part in harvested.dataset.parts("instances")}
    assert folders == {
        "instances/collection_id=c/Modality=MR",
        "instances/collection_id=__HIVE_DEFAULT_PARTITION__/Modality=CT",
        "instances/collection_id=__HIVE_DEFAULT_PARTITION__/Modality=PT",
    }


def test_no_part_but_the_last_is_smaller_than_it_has_to_be(tmp_path: Path) -> None:
    """However many readers find a part full while it is written."""
    store = MemoryStore()
    series = named_series("s", [dicom(number) for number in range(200)], store, modality="CT")
    with patch("harvester.engine.row_buffer.ROWS_AT_ONCE", 20):
        harvested = Harvested(tmp_path, store, series, concurrency=16)
    sizes = [part.rows for part in harvested.dataset.parts("instances")]
    assert sum(sizes) == 200
    assert all(size >= 20 for size in sizes[:-1])
    assert max(sizes) < 20 + 16
    assert Counter(row["SOPInstanceUID"] for row in harvested.rows()).most_common(1)[0][1] == 1


def test_a_header_that_is_too_much_beside_others_is_a_row_of_another_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = InstanceColumns.append

    def refuse_third(columns: InstanceColumns, header: Header) -> None:
        if columns.rows == 2:
            raise HeaderLimitError("too much beside the others")
        append(columns, header)

    monkeypatch.setattr(InstanceColumns, "append", refuse_third)
    store = MemoryStore()
    series = named_series("s", [dicom(number) for number in range(7)], store, modality="CT")
    dataset = Dataset.create(tmp_path / "dataset")
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("shard"))
    work = ShardHarvest(Shard("shard", (series,)), HeaderFetcher(store), writer, CrawlProgress(), readers(4))
    anyio.run(work.run)
    assert sorted(part.rows for part in dataset.parts("instances")) == [1, 2, 2, 2]
    assert not dataset.parts("failures")


def test_a_part_is_closed_by_the_bytes_of_its_headers_inflated_ones_too(tmp_path: Path) -> None:
    def inflating(number: int) -> bytes:
        syntax = b"1.2.840.10008.1.2.1.99"
        body = element(0x00080018, "UI", b"1.2.%04d" % number)
        body += element(0x00104000, "LT", b"x" * 60_000)
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return part10(transfer_syntax=syntax) + packer.compress(body) + packer.flush()

    store = MemoryStore()
    series = named_series("s", [inflating(number) for number in range(40)], store, modality="SR")
    with patch("harvester.engine.row_buffer.BYTES_AT_ONCE", 600_000):
        harvested = Harvested(tmp_path, store, series, concurrency=1)
    assert store.bytes_fetched < 20_000
    assert [part.rows for part in harvested.dataset.parts("instances")] == [10, 10, 10, 10]


def test_an_etag_that_is_no_text_costs_no_row(tmp_path: Path) -> None:
    class OddStore(MemoryStore):
        async def get_range(
            self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None
        ) -> RangeResponse:
            answer = await super().get_range(ref, wanted, etag=etag)
            return RangeResponse(answer.data, answer.size, "\udcff\udc80")  # as aiohttp gives stray bytes

    store = OddStore()
    harvested = Harvested(tmp_path, store, named_series("s", [dicom(1)], store))
    (row,) = harvested.rows()
    assert row["etag"] == "\\udcff\\udc80"


def test_a_failure_names_the_listed_object_and_says_which_copy_it_is_about(tmp_path: Path) -> None:
    store = MemoryStore()
    objects = (ListedObject(ObjectRef("b", "s/1.dcm"), 5),)
    prefixes = (ObjectRef("b", "s/"), ObjectRef("other", "s/", "gs"))
    harvested = Harvested(tmp_path, store, Series("s", prefixes, objects))
    (row,) = harvested.rows("failures")
    assert row["instance_url"] == "s3://b/s/1.dcm"
    assert row["reason"] == "not_found"
    assert "[gs://other/s/1.dcm]" in row["message"]
    assert row["instance_size"] == 5


def test_what_is_interrupted_while_a_part_is_written_leaves_nothing_that_counts(tmp_path: Path) -> None:
    store = MemoryStore()
    series = named_series("s", [dicom(number) for number in range(50)], store, modality="CT")
    writing, go_on = threading.Event(), threading.Event()
    write = ShardWriter.write_instances

    def write_slowly(writer: ShardWriter, *arguments: Any) -> Any:
        writing.set()
        assert go_on.wait()
        return write(writer, *arguments)

    dataset = Dataset.create(tmp_path / "dataset")

    async def interrupted() -> None:
        shard = ShardHarvest(
            Shard("s", (series,)),
            HeaderFetcher(store),
            dataset.shard_writer(hex_name("c"), hex_name("s")),
            CrawlProgress(),
            readers(4),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shard.run)
            await anyio.to_thread.run_sync(writing.wait, 20)
            tasks.cancel_scope.cancel()
            go_on.set()

    with patch.object(ShardWriter, "write_instances", write_slowly):
        anyio.run(interrupted)
    assert list(dataset.commits()) == []
    assert list((tmp_path / "dataset/instances").rglob("*.parquet"))  # the thread has finished its part
    with dataset.lock() as lock:
        dataset.sweep(lock)
    assert not list((tmp_path / "dataset/instances").rglob("*.parquet"))


def test_the_loop_goes_on_while_a_part_is_made(tmp_path: Path) -> None:
    """Making a table of thousands of headers takes seconds, in which answers would time out."""
    store = MemoryStore()
    series = named_series("s", [dicom(number) for number in range(4)], store, modality="CT")
    threads = []
    write = ShardWriter.write_instances

    def note(writer: ShardWriter, *arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return write(writer, *arguments)

    with patch.object(ShardWriter, "write_instances", note):
        Harvested(tmp_path, store, series)
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("concurrency", [1, 3])
def test_few_readers_harvest_many_series(tmp_path: Path, concurrency: int) -> None:
    store = MemoryStore()
    series = [named_series(str(n), [dicom(10 * n), dicom(10 * n + 1)], store) for n in range(30)]
    harvested = Harvested(tmp_path, store, *series, concurrency=concurrency)
    assert len(harvested.rows()) == 60


class HeldStore(MemoryStore):
    """Answers for the objects under one prefix only when told to."""

    def __init__(self, held: str) -> None:
        super().__init__()
        self.held = held
        self.waiting = anyio.Event()
        self.opened = anyio.Event()

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        if ref.key.startswith(self.held):
            self.waiting.set()
            await self.opened.wait()
        return await super().get_range(ref, wanted, etag=etag)


def stopped_harvest(folder: Path, store: HeldStore, *series: Series) -> tuple[Harvested, ShardResult]:
    """A shard that is stopped when it waits for the held objects, which never come."""
    harvested = object.__new__(Harvested)
    harvested.dataset = Dataset.create(folder / "dataset")
    harvested.progress = CrawlProgress()
    writer = harvested.dataset.shard_writer(hex_name("crawl"), hex_name("shard"))
    harvested.work = ShardHarvest(
        Shard("shard", series), HeaderFetcher(store), writer, harvested.progress, readers(8)
    )
    outcomes = []

    async def stop() -> None:
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                outcomes.append(await harvested.work.run())

            tasks.start_soon(run)
            await store.waiting.wait()
            await anyio.wait_all_tasks_blocked()
            harvested.work.stop(0.01)

    anyio.run(stop)
    return harvested, outcomes[0]


def test_a_shard_that_is_stopped_commits_the_series_that_are_whole(tmp_path: Path) -> None:
    store = HeldStore("slow/0002")
    quick = named_series("quick", [dicom(1), dicom(2)], store, collection_id="c", modality="CT")
    slow = named_series("slow", [dicom(3), dicom(4), dicom(5)], store, collection_id="c", modality="CT")
    broken = named_series("broken", [b"no dicom"], store, collection_id="c", modality="CT")
    harvested, outcome = stopped_harvest(tmp_path, store, quick, slow, broken)
    (commit,) = harvested.dataset.commits()
    assert commit.series == ("quick", "broken")
    assert commit.counts == {"quick": (2, 0), "broken": (0, 1)}
    assert outcome.series == 2
    assert sorted(row["SOPInstanceUID"] for row in harvested.rows()) == ["1.2.0001", "1.2.0002"]
    progress = harvested.progress
    assert (progress.series, progress.instances, progress.failures) == (2, 2, 1)
    assert progress.requests == commit.requests > 3


def test_a_shard_that_is_stopped_before_any_series_is_whole_leaves_nothing(tmp_path: Path) -> None:
    store = HeldStore("slow/0001")
    slow = named_series("slow", [dicom(1), dicom(2)], store, modality="CT")
    harvested, outcome = stopped_harvest(tmp_path, store, slow)
    assert list(harvested.dataset.commits()) == []
    assert outcome == ShardResult(0)
    assert (harvested.progress.series, harvested.progress.instances) == (0, 0)


def test_a_shard_whose_parts_hold_a_series_that_is_not_whole_is_given_up(tmp_path: Path) -> None:
    store = HeldStore("slow/0002")
    quick = named_series("quick", [dicom(1), dicom(2)], store, modality="CT")
    slow = named_series("slow", [dicom(3), dicom(4), dicom(5)], store, modality="CT")
    with patch("harvester.engine.row_buffer.ROWS_AT_ONCE", 4):
        harvested, outcome = stopped_harvest(tmp_path, store, quick, slow)
    assert list(harvested.dataset.commits()) == []
    assert outcome == ShardResult(0)
    assert harvested.progress.instances == 0
    assert not list((tmp_path / "dataset/instances").rglob("*.parquet"))


def test_objects_that_are_given_up_are_not_read(tmp_path: Path) -> None:
    store = MemoryStore()
    series = named_series("s", [dicom(1), dicom(2)], store, modality="CT")
    dataset = Dataset.create(tmp_path / "dataset")
    options = HarvestOptions(given_up=frozenset({"s3://b/s/0000.dcm"}))
    writer = dataset.shard_writer(hex_name("c"), hex_name("s"))
    fetcher, shard = HeaderFetcher(store), Shard("s", (series,))
    anyio.run(ShardHarvest(shard, fetcher, writer, CrawlProgress(), readers(4), options).run)
    assert [ref.key for ref, _ in store.ranges] == ["s/0001.dcm"]
    (commit,) = dataset.commits()
    assert commit.counts == {"s": (1, 1)}


def test_a_trial_leaves_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    series = named_series("s", [dicom(1), dicom(2)], store, modality="CT")
    dataset = Dataset.create(tmp_path / "dataset")
    writer, options = dataset.shard_writer(hex_name("c"), hex_name("s")), HarvestOptions(trial=True)
    written = []
    write = ShardWriter.write_instances

    def note(writer: ShardWriter, *arguments: Any) -> Any:
        written.append(write(writer, *arguments))
        return written[-1]

    with patch.object(ShardWriter, "write_instances", note):
        harvest = ShardHarvest(
            Shard("s", (series,)), HeaderFetcher(store), writer, CrawlProgress(), readers(4), options
        )
        assert anyio.run(harvest.run) == ShardResult(0)
    assert [part.rows for part in written] == [2]
    assert list(dataset.commits()) == []
    assert not list((tmp_path / "dataset").rglob("*.parquet"))


def test_a_task_and_its_settings_can_be_pickled(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "dataset")
    objects = []
    for number in range(3):
        (tmp_path / f"{number}.dcm").write_bytes(dicom(number))
        objects.append(ListedObject(ObjectRef.parse(str(tmp_path / f"{number}.dcm")), None))
    task = ShardTask(
        hex_name("crawl"), Shard(hex_name("shard"), (Series("s", objects=tuple(objects), modality="CT"),))
    )
    settings = WorkerSettings(dataset.location, LimitsConfig())
    settings, task = pickle.loads(pickle.dumps((settings, task)))

    async def run() -> tuple[ShardResult, CrawlProgress]:
        progress = CrawlProgress()
        async with open_task_runner(settings) as runner:
            return await runner.harvest(task, progress), progress

    result, progress = anyio.run(run)
    assert result == ShardResult(1)
    assert (progress.instances, progress.requests) == (3, 3)
    (commit,) = dataset.commits()
    assert commit.counts == {"s": (3, 0)}
