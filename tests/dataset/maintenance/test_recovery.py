"""A crawl of three shards in a process of its own, killed with SIGKILL between any two file operations."""

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from harvester.dataset import Dataset

# Says each step on stdout before it goes on, and goes on when it hears a line.
CRAWL = """
import os, sys
import pyarrow as pa
from pathlib import Path
from harvester.dataset import Dataset, Partition
from harvester.model import Failure

def step(name):
    print(name, flush=True)
    if not sys.stdin.readline():
        sys.exit("the test has ended")

sync, rename = os.fsync, os.rename
def saying_sync(descriptor):
    step("sync")
    sync(descriptor)
def saying_rename(source, target, **folders):
    step(f"rename {target}")
    rename(source, target, **folders)
    step(f"renamed {target}")
os.fsync, os.rename = saying_sync, saying_rename

dataset = Dataset.open(sys.argv[1])
with dataset.lock() as lock:
    dataset.sweep(lock)
    done = {int(commit.shard, 16) for commit in dataset.commits()}
    for shard in range(3):
        if shard in done:
            continue
        writer = dataset.shard_writer("c" * 16, f"{shard:016x}")
        for modality in ("CT", "MR"):
            rows = [f"{shard}.{modality}.{n}" for n in range(10)]
            writer.write_instances(pa.table({"SOPInstanceUID": rows}), Partition("c", modality))
        writer.write_failures([Failure(f"s3://b/{shard}", "truncated", "ends")], harvester_version="1")
        writer.commit([str(shard)], requests=1, bytes_fetched=1, seconds=1, versions={})
"""

INSTANCES = sorted(
    f"{shard}.{modality}.{n}" for shard in range(3) for modality in ("CT", "MR") for n in range(10)
)
FAILURES = [f"s3://b/{shard}" for shard in range(3)]


def crawl(dataset: Dataset, *, steps: int | None = None) -> list[str]:
    """Run the crawl, killed when it has announced so many steps; return the steps."""
    seen: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", CRAWL, dataset.location],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line.strip())
            if len(seen) == steps:
                process.kill()
                break
            process.stdin.write("\n")
            process.stdin.flush()
        expected = -signal.SIGKILL if len(seen) == steps else 0
        assert process.wait() == expected
    return seen


def rows(dataset: Dataset, kind: str, column: str) -> list[str]:
    """Read as anybody would, without us: every Parquet file under the table's folder."""
    files = str(Path(dataset.location) / kind / "**/*.parquet")
    if not list(Path(dataset.location).glob(f"{kind}/**/*.parquet")):
        return []
    answer = duckdb.execute(f"SELECT {column} FROM read_parquet(?, union_by_name=true) ORDER BY 1", [files])
    return [value for (value,) in answer.fetchall()]


def assert_finished(dataset: Dataset) -> None:
    assert rows(dataset, "instances", "SOPInstanceUID") == INSTANCES
    assert rows(dataset, "failures", "instance_url") == FAILURES
    assert [int(commit.shard, 16) for commit in dataset.commits()] == [0, 1, 2]
    assert sum(commit.instances for commit in dataset.commits()) == len(INSTANCES)
    assert not list(Path(dataset.location).glob("**/*.tmp"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "ds")


def test_an_undisturbed_crawl_takes_the_steps_that_the_kills_are_between(dataset: Dataset) -> None:
    steps = crawl(dataset)
    assert_finished(dataset)
    record = f"{'c' * 16}.{0:016x}.json"
    assert steps[:4] == ["sync", f"rename {record}", f"renamed {record}", "sync"]  # the shard is open
    assert steps.index(f"renamed {record}", 4) == 18  # the shard is committed
    assert len(steps) == 3 * 5 * 4


@pytest.mark.timeout(600)
def test_a_crawl_killed_again_and_again_has_each_row_once(dataset: Dataset) -> None:
    # Each run is killed a little later than the last, until one gets to its end.
    for steps in range(1, 80, 13):
        seen = crawl(dataset, steps=steps)
        visible = rows(dataset, "instances", "SOPInstanceUID")
        assert len(visible) == len(set(visible)), f"twice after a kill at step {steps}"
        assert set(visible) <= set(INSTANCES)
        for commit in dataset.commits():
            assert {f"{int(commit.shard, 16)}.CT.{n}" for n in range(10)} <= set(visible)
        if len(seen) < steps:
            break
    else:
        pytest.fail("no run came to its end")
    assert_finished(dataset)


@pytest.mark.parametrize("steps", [7, 18, 19, pytest.param(24, marks=pytest.mark.slow)])
def test_a_crawl_killed_once_is_finished_by_the_next(dataset: Dataset, steps: int) -> None:
    # 7: a part is there, its folder is not synced; 18, 19: around the first commit; 24: in the second shard.
    assert len(crawl(dataset, steps=steps)) == steps
    assert len(list(dataset.commits())) == (steps >= 19)
    again = crawl(dataset)
    assert_finished(dataset)
    assert (f"rename {'c' * 16}.{0:016x}.json" in again) == (steps < 19)
