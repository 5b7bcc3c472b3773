"""Crawls in several processes give the same rows even if any process dies."""

import gc
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pyarrow.parquet as pq
import pytest
from checkout import ROOT
from recorded_demo import RecordedDemo, recorded_demo
from request_gate import Gate

from harvester.config import load
from harvester.dataset import Dataset
from harvester.engine.crawl import CrawlOptions, CrawlResult, crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import DatasetError, WorkerError

LIMITS = "processes = 2\nconcurrency = 4\nshard_instances = 8"
SELECTION = "where = \"collection_id = 'pydicom_test_files'\""


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def demo(gate: Gate) -> Iterator[RecordedDemo]:
    with recorded_demo(hold=gate) as demo:
        yield demo
        gate.open()


def run(toml: Path, **options: Any) -> CrawlResult:
    return anyio.run(crawl, load(toml), CrawlProgress(), CrawlOptions(**options))


def table(dataset: Path, kind: Any) -> list[dict[str, Any]]:
    parts = Dataset.open(dataset).parts(kind)
    return [row for part in parts for row in pq.ParquetFile(dataset / part.path).read().to_pylist()]


def addresses(dataset: Path) -> Counter[str]:
    return Counter(row["instance_url"] for kind in ("instances", "failures") for row in table(dataset, kind))


def assert_no_remains(dataset: Path) -> None:
    opened = Dataset.open(dataset)
    committed = {part.path for kind in ("instances", "failures") for part in opened.parts(kind)}  # type: ignore[arg-type]
    assert {str(path.relative_to(dataset)) for path in dataset.rglob("*.parquet")} == committed


def children() -> list[int]:
    """The processes that this one has started and that live."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that ended meanwhile; its children are another's now
            found += [int(text) for text in (task / "children").read_text().split()]
    return found


def workers() -> list[int]:
    return [pid for pid in children() if b"workers.process_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture(scope="module")
def alone(demo: RecordedDemo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a single process harvests."""
    folder = tmp_path_factory.mktemp("alone")
    run(demo.toml(folder, select=SELECTION, limits=LIMITS.replace("processes = 2", "processes = 1")))
    return folder / "dataset"


def without_costs(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as texts, NaN and all, without what differs from crawl to crawl and from part to part."""
    spent = ("requests", "bytes_fetched", "harvested_at")
    return sorted(
        str(sorted((key, value) for key, value in row.items() if value is not None and key not in spent))
        for row in rows
    )


def test_two_processes_give_the_rows_of_one(demo: RecordedDemo, alone: Path, tmp_path: Path) -> None:
    progress = CrawlProgress()
    demo.forget()
    toml = demo.toml(tmp_path, select=SELECTION, limits=LIMITS)
    result = anyio.run(crawl, load(toml), progress)
    assert result.instances == progress.instances == len(table(alone, "instances"))
    assert result.failures == progress.failures == len(table(alone, "failures"))
    assert result.requests == len(demo.objects) + len(demo.listings)
    assert progress.series == result.series
    for kind in ("instances", "failures"):
        assert without_costs(table(tmp_path / "dataset", kind)) == without_costs(table(alone, kind))
    assert not workers()


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the workers of the next crawls die; see `worker_faults`."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "worker_faults"))
    return partial(monkeypatch.setenv, "HARVESTER_TEST_FAULT")


def test_an_object_that_kills_is_a_failure_and_all_others_are_rows(
    demo: RecordedDemo,
    alone: Path,
    tmp_path: Path,
    fault: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    uids = Counter(row["SOPInstanceUID"] for row in table(alone, "instances"))
    victim = next(
        row
        for row in table(alone, "instances")
        if row["Modality"] == "CT" and uids[row["SOPInstanceUID"]] == 1
    )
    fault(f"uid:{victim['SOPInstanceUID']}")
    toml, dataset = demo.toml(tmp_path, select=SELECTION, limits=LIMITS), tmp_path / "dataset"
    with caplog.at_level(logging.WARNING, "harvester"):
        result = run(toml)
    assert addresses(dataset) == addresses(alone)
    (row,) = [row for row in table(dataset, "failures") if row["reason"] == "worker_died"]
    assert row["instance_url"] == victim["instance_url"]
    assert result.instances == len(table(alone, "instances")) - 1
    assert result.failures == len(table(alone, "failures")) + 1
    assert "signal 9" in caplog.text
    assert_no_remains(dataset)
    monkeypatch.delenv("HARVESTER_TEST_FAULT")
    mended = run(toml, retry_failed=True)
    assert mended.instances == 1
    assert mended.failures == len(table(alone, "failures"))
    assert {row["instance_url"] for row in table(dataset, "instances")} == {
        row["instance_url"] for row in table(alone, "instances")
    }


def test_objects_that_kill_by_their_sum_only_are_failures_of_their_series(
    demo: RecordedDemo, alone: Path, tmp_path: Path, fault: Callable[[str], None]
) -> None:
    sizes = Counter(row["series_key"] or "" for row in table(alone, "failures"))
    sizes += Counter(row["crdc_series_uuid"] for row in table(alone, "instances"))
    bearable = max(sizes.values()) - 1
    toml, dataset = demo.toml(tmp_path, select=SELECTION, limits=LIMITS), tmp_path / "dataset"
    fault(f"row:{bearable + 1}")
    run(toml)
    assert addresses(dataset) == addresses(alone)
    died = [row["series_key"] for row in table(dataset, "failures") if row["reason"] == "worker_died"]
    assert set(died) == {key for key, size in sizes.items() if size > bearable}
    assert_no_remains(dataset)


@pytest.mark.parametrize("point", [pytest.param(1, marks=pytest.mark.slow), 30])
def test_a_worker_that_is_killed_costs_no_row(
    demo: RecordedDemo, gate: Gate, alone: Path, tmp_path: Path, point: int
) -> None:
    toml, dataset = demo.toml(tmp_path, select=SELECTION, limits=LIMITS), tmp_path / "dataset"
    demo.forget()
    gate.close_at(point)
    progress = CrawlProgress()

    async def kill() -> None:
        await anyio.to_thread.run_sync(gate.reached.wait, 30)
        for pid in workers():
            os.kill(pid, signal.SIGKILL)
        gate.open()

    async def crawl_and_kill() -> CrawlResult:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill)
            return await crawl(load(toml), progress)

    result = anyio.run(crawl_and_kill)
    assert addresses(dataset) == addresses(alone)
    assert result.instances == progress.instances == len(table(alone, "instances"))
    assert result.failures == len(table(alone, "failures"))
    assert_no_remains(dataset)


def test_a_crawl_that_is_cancelled_leaves_no_process(demo: RecordedDemo, gate: Gate, tmp_path: Path) -> None:
    toml = demo.toml(tmp_path, select=SELECTION, limits=LIMITS)
    demo.forget()
    gate.close_at(3)

    async def crawl_and_cancel() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(crawl, load(toml), CrawlProgress())
            await anyio.to_thread.run_sync(gate.reached.wait, 30)
            assert len(workers()) == 2
            tasks.cancel_scope.cancel()

    anyio.run(crawl_and_cancel)
    gate.open()
    assert not workers()
    with Dataset.open(tmp_path / "dataset").lock():
        pass


def test_a_crawl_that_is_asked_to_stop_commits_what_is_whole(
    demo: RecordedDemo, gate: Gate, alone: Path, tmp_path: Path
) -> None:
    toml, dataset = demo.toml(tmp_path, select=SELECTION, limits=LIMITS), tmp_path / "dataset"
    demo.forget()
    gate.close_at(40)
    stop = anyio.Event()

    async def crawl_and_stop() -> CrawlResult:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                await anyio.to_thread.run_sync(gate.reached.wait, 30)
                stop.set()
                gate.open()

            tasks.start_soon(ask)
            return await crawl(load(toml), CrawlProgress(), stop=stop)

    result = anyio.run(crawl_and_stop)
    assert result.stopped
    committed = addresses(dataset)
    assert 0 < len(committed) < len(addresses(alone))
    assert len(committed) == result.instances + result.failures
    assert_no_remains(dataset)
    rest = run(toml)
    assert rest.skipped == len(committed)
    assert addresses(dataset) == addresses(alone)


def test_a_crawl_that_is_asked_to_stop_before_it_has_a_plan_ends(demo: RecordedDemo, tmp_path: Path) -> None:
    stop = anyio.Event()
    stop.set()
    result = anyio.run(
        partial(crawl, load(demo.toml(tmp_path, limits="processes = 2")), CrawlProgress(), stop=stop)
    )
    assert result.stopped
    assert (result.instances, result.failures) == (0, 0)


def test_an_error_of_a_worker_ends_the_crawl_as_itself(demo: RecordedDemo, tmp_path: Path) -> None:
    toml = demo.toml(tmp_path, select=SELECTION, limits=LIMITS)
    Dataset.create(tmp_path / "dataset")
    (tmp_path / "dataset/instances").mkdir(exist_ok=True)
    (tmp_path / "dataset/instances/collection_id=pydicom_test_files").touch()
    with pytest.raises(DatasetError, match="cannot be written"):
        run(toml)
    assert not workers()


def test_workers_that_cannot_start_end_the_crawl(
    demo: RecordedDemo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nos._exit(7 if 'worker' in str(sys.orig_argv) else 0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WorkerError, match="exit status 7"):
        run(demo.toml(tmp_path, select=SELECTION, limits=LIMITS))
    assert not workers()


def test_a_crawl_that_is_cancelled_while_a_worker_starts_leaves_no_socket(
    demo: RecordedDemo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sockets() -> int:
        return sum(
            "socket:" in str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()
        )

    async def main() -> None:
        async with anyio.create_task_group() as tasks:

            async def never(*_: Any, **__: Any) -> None:
                tasks.cancel_scope.cancel()
                await anyio.sleep_forever()

            monkeypatch.setattr(anyio, "open_process", never)
            toml = demo.toml(tmp_path, select=SELECTION, limits=LIMITS)
            await crawl(load(toml), CrawlProgress(), CrawlOptions())

    gc.collect()
    before = sockets()
    anyio.run(main)
    assert sockets() == before
