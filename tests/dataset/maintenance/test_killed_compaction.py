"""A compaction killed with SIGKILL before any file operation, and what readers and writers find then."""

import json
import os
import subprocess
import sys

import pytest

# For each file operation of a compaction: a dataset is compacted by a process that kills itself right
# before it. Processes are forked from one that has loaded everything and started no thread.
KILLED = """
import json, os, shutil, signal, sys
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.dataset import no_follow
from harvester.dataset import CompactionOptions, Dataset, Partition
from harvester.model import Failure

folder, keep, every = Path(sys.argv[1]), timedelta(hours=float(sys.argv[2])), int(sys.argv[4])
exchange = sys.argv[5]
compacted_before = sys.argv[3] == "again"

os.fsync = lambda descriptor: None  # a kill loses nothing that was written: only a power cut would

def in_child(work, *arguments):
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.write(writer, json.dumps(work(*arguments)).encode())
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{work.__name__}{arguments}: {type(error).__name__}: {error}\\n".encode())
            os._exit(1)
    os.close(writer)
    with open(reader) as answer:
        text = answer.read()
    status = os.waitpid(process, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(1)
    return json.loads(text) if text else None

def add(place, shard):
    writer = Dataset.open(place).shard_writer("c" * 16, sha256(shard.encode()).hexdigest()[:16])
    for modality in ("CT", "MR"):
        rows = [f"{modality}.{shard}.{number}" for number in range(3)]
        table = pa.table({"SOPInstanceUID": rows, "SeriesInstanceUID": rows})
        writer.write_instances(table, Partition("c", modality))
    writer.write_failures([Failure(f"s3://b/{shard}", "truncated", "ends")], harvester_version="1")
    writer.commit([shard], requests=1, bytes_fetched=1, seconds=1, versions={})

def make(place):
    Dataset.create(place)
    for shard in ("one", "two"):
        add(place, shard)
    if compacted_before:
        compact(place)
        add(place, "three")

def compact(place, options=CompactionOptions(keep=keep)):
    dataset = Dataset.open(place)
    with dataset.lock() as lock:
        return dataset.compact(lock, options).partitions

def killed(place, at):
    steps = 0
    def counted(function):
        def step(*arguments, **named):
            nonlocal steps
            steps += 1
            if steps == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)
        return step
    for name in ("fsync", "link", "rmdir", "unlink", "rename", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    if exchange == "atomic":
        call = no_follow.exchange_call()
        no_follow.exchange_call = lambda: counted(call)
    else:
        no_follow.exchange_call = lambda: None
    return compact(place)

def rows(place):
    snapshot, _columns = Dataset.open(place).snapshot()
    tables = [pq.ParquetFile(file).read(columns=["SOPInstanceUID"]) for file in snapshot.files("instances")]
    return sorted(uid for table in tables for uid in table.column(0).to_pylist())

def add_and_sweep(place):
    dataset = Dataset.open(place)
    with dataset.lock() as lock:
        dataset.sweep(lock)
        add(place, "after")
        dataset.checkpoint(lock)

def finish(place):
    compact(place)
    dataset = Dataset.open(place)
    parts = [part.path for part in dataset.parts("instances")]
    there = [str(path.relative_to(place)) for path in (place / "instances").rglob("*.parquet")]
    strangers = [str(path) for path in (place / "_harvest").rglob("*")
                 if path.parts[-2] in ("unfinished",) or "staged" in path.parts]
    return {"parts": sorted(parts), "there": sorted(there),
            "strangers": strangers, "again": compact(place)}

in_child(make, folder / "made")
expected = in_child(rows, folder / "made")
told, at = [], 1 - every
while True:
    at += every
    place = folder / "now"
    shutil.copytree(folder / "made", place, symlinks=True)
    ended = in_child(killed, place, at)
    seen = {"rows": in_child(rows, place) == expected}
    if at % 2:  # a crawl comes next, or another compaction
        in_child(add_and_sweep, place)
        seen["after"] = len(in_child(rows, place)) == len(expected) + 6
    else:
        seen["after"] = True
    seen |= in_child(finish, place)
    seen["finished"] = len(in_child(rows, place)) == len(expected) + 6 * (at % 2)
    told.append(seen)
    shutil.rmtree(place)
    if ended is not None:
        break
print(json.dumps(told))
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("keep", "before", "exchange"),
    [
        ("24", "first", "atomic"),
        ("0", "again", "renames"),
        pytest.param("24", "first", "renames", marks=pytest.mark.slow),
        pytest.param("0", "again", "atomic", marks=pytest.mark.slow),
    ],
)
def test_a_compaction_killed_at_any_moment_loses_and_doubles_nothing(tmp_path, keep, before, every, exchange):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), keep, before, str(every), exchange],
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) > 60 / every, "these are fewer file operations than a compaction has"
    for number, seen in enumerate(told):
        step = 1 + number * every
        assert seen["rows"], f"after a kill at step {step} readers saw other rows"
        assert seen["after"], f"after a kill at step {step} a crawl added other rows than its own"
        assert seen["finished"], f"after a kill at step {step} the next compaction changed the rows"
        assert seen["there"] == seen["parts"], f"after a kill at step {step} parts are left or missing"
        assert len(seen["parts"]) == 2
        assert seen["strangers"] == []
        assert seen["again"] == 0
