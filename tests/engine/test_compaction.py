"""A crawl merges the small parts that it leaves: from a threshold on, unless it is off, stopped or killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pydicom
import pytest
from bucket_servers import Bucket
from harvester_program import run as run_program
from pydicom.data import get_testdata_file

from harvester.config import load
from harvester.dataset import Dataset
from harvester.engine.crawl import CrawlOptions, CrawlResult, crawl
from harvester.engine.shard import CrawlProgress

OBJECTS = 6
WHOLE = {f"1.2.{number}" for number in range(OBJECTS)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six series of one object each."""
    root = tmp_path_factory.mktemp("dicom")
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for number in range(OBJECTS):
        header.SeriesInstanceUID = header.SOPInstanceUID = f"1.2.{number}"
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        folder = root / str(number)
        folder.mkdir()
        header.save_as(folder / "one.dcm")
    return root


@pytest.fixture
def toml(root: Path, tmp_path: Path) -> Callable[..., Path]:
    def write(compact_parts: int, dataset: str = f"{tmp_path}/ds") -> Path:
        path = tmp_path / "crawl.toml"
        path.write_text(
            f'dataset = "{dataset}"\n[select]\nroot = "{root}"\n'
            f"[limits]\nprocesses = 1\nshard_instances = 1\ncompact_parts = {compact_parts}\n"
        )
        return path

    return write


def run(config: Path, progress: CrawlProgress | None = None, **options: Any) -> CrawlResult:
    return anyio.run(crawl, load(config), progress or CrawlProgress(), CrawlOptions(**options))


def parts(place: str | Path) -> int:
    """The number of parts; every object is in one of them, once."""
    dataset = Dataset.open(place)
    counting = [part.path for part in dataset.parts("instances")]
    found = [
        dataset.storage.parquet(path).read(["SOPInstanceUID"]).column(0).to_pylist() for path in counting
    ]
    uids = [uid for some in found for uid in some]
    assert (len(uids), set(uids)) == (OBJECTS, WHOLE)
    assert set(dataset.storage.list_files("instances")) == set(counting)
    return len(counting)


def test_a_crawl_with_as_many_small_parts_as_the_limit_merges_them(
    toml: Callable[..., Path], tmp_path: Path
) -> None:
    result = run(toml(OBJECTS))
    assert result.compaction is not None
    assert result.instances == OBJECTS
    assert "compacted: 6 parts became 1 in " in result.summary()
    assert parts(tmp_path / "ds") == 1
    again = run(toml(OBJECTS))
    assert (again.instances, again.skipped, again.compaction) == (0, OBJECTS, None)


def test_fewer_small_parts_stay_and_so_do_all_with_a_limit_of_0_or_the_option(
    toml: Callable[..., Path], tmp_path: Path
) -> None:
    for result in (run(toml(OBJECTS + 1)), run(toml(0))):
        assert result.compaction is None
        assert "compacted" not in result.summary()
        assert parts(tmp_path / "ds") == OBJECTS
    ended = run_program("crawl", toml(1), "--no-compact", "--json")
    assert ended.status == 0
    assert json.loads(ended.stdout)["skipped"] == OBJECTS
    assert parts(tmp_path / "ds") == OBJECTS


class Watched(CrawlProgress):
    """Calls a function, in the compaction's thread, once rows are about to be compacted."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.call = call

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "rows_to_compact" and value:
            self.call()


def test_a_stop_ends_the_compaction_without_a_change(toml: Callable[..., Path], tmp_path: Path) -> None:
    async def stopped_crawl() -> CrawlResult:
        stop = anyio.Event()
        progress = Watched(lambda: anyio.from_thread.run_sync(stop.set))
        return await crawl(load(toml(1)), progress, stop=stop)

    result = anyio.run(stopped_crawl)
    assert (result.stopped, result.instances, result.compaction) == (True, OBJECTS, None)
    assert parts(tmp_path / "ds") == OBJECTS
    assert not (tmp_path / "ds/_harvest/staged").exists()
    assert run(toml(1)).compaction is not None
    assert parts(tmp_path / "ds") == 1


def test_a_cancelled_crawl_ends_the_compaction_without_a_change(
    toml: Callable[..., Path], tmp_path: Path
) -> None:
    async def cancelled_crawl() -> bool:
        with anyio.CancelScope() as scope:
            await crawl(load(toml(1)), Watched(lambda: anyio.from_thread.run_sync(scope.cancel)))
        return scope.cancelled_caught

    assert anyio.run(cancelled_crawl)
    assert parts(tmp_path / "ds") == OBJECTS
    assert not (tmp_path / "ds/_harvest/staged").exists()


# A crawl in a process that kills itself before a method of the dataset's storage is called, the n-th time.
KILLED = """
import os, signal, sys
from harvester.cli import main
from harvester.dataset.directory import LocalStorage

config, name, least = sys.argv[1:]
method, calls = getattr(LocalStorage, name), 0

def counted(*arguments, **named):
    global calls
    calls += "_harvest/staged" in str(arguments) or "snapshot.next" in str(arguments)
    if calls == int(least):
        os.kill(os.getpid(), signal.SIGKILL)
    return method(*arguments, **named)

setattr(LocalStorage, name, counted)
sys.argv = ["harvester", "crawl", config]
main()
"""


@pytest.mark.parametrize("step", [("write", 2), ("replace_folder", 1)], ids=["staged", "publishing"])
def test_a_crawl_killed_while_it_compacts_loses_nothing(
    toml: Callable[..., Path], tmp_path: Path, step: tuple[str, int]
) -> None:
    name, calls = step
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(toml(1)), name, str(calls)], check=False, env=os.environ
    )
    assert killed.returncode == -signal.SIGKILL
    dataset = Dataset.open(tmp_path / "ds")
    assert sum(part.rows for part in dataset.parts("instances")) == OBJECTS
    result = run(toml(1))
    assert (result.instances, result.skipped) == (0, OBJECTS)
    assert parts(tmp_path / "ds") == 1
    assert not (tmp_path / "ds/_harvest/staged").exists()


def test_a_compaction_that_fails_is_a_warning(toml: Callable[..., Path], tmp_path: Path) -> None:
    run(toml(0))
    part = tmp_path / "ds" / Dataset.open(tmp_path / "ds").parts("instances")[0].path
    content = part.read_bytes()
    part.write_bytes(content[:4] + bytes(2000) + content[2004:])  # the footer stays
    ended = run_program("crawl", toml(1), "--json")
    assert ended.status == 0
    assert json.loads(ended.stdout)["skipped"] == OBJECTS
    assert "the crawl is done; its small parts were not merged" in ended.stderr
    assert "cannot be compacted, and stays as it is" in ended.stderr
    assert "Traceback" not in ended.stderr
    part.write_bytes(content)
    assert parts(tmp_path / "ds") == OBJECTS


@pytest.mark.parametrize("writable_bucket", ["s3", pytest.param("gs", marks=pytest.mark.slow)], indirect=True)
def test_a_crawl_into_a_bucket_merges_its_small_parts(
    toml: Callable[..., Path], writable_bucket: Bucket
) -> None:
    place = writable_bucket.place("compacted")
    assert run(toml(OBJECTS + 1, place)).compaction is None
    assert parts(place) == OBJECTS
    assert run(toml(OBJECTS, place)).compaction is not None
    assert parts(place) == 1
