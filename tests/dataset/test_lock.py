import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest
from hex_names import hex_name

from harvester.dataset import Dataset, Partition
from harvester.errors import DatasetError

HOLDER = """
import sys
import threading
from harvester.dataset import Dataset, Partition
with Dataset.open(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "ds")


def test_the_lock_can_be_taken_again(dataset: Dataset) -> None:
    for _ in range(2):
        with dataset.lock():
            pass


def test_the_lock_is_freed_by_an_error(dataset: Dataset) -> None:
    with pytest.raises(KeyError), dataset.lock():
        raise KeyError
    with dataset.lock():
        pass


def test_a_second_crawl_hears_who_holds_the_dataset(dataset: Dataset) -> None:
    held_by = rf"another crawl .*process {os.getpid()} on .* UTC"
    with dataset.lock(), pytest.raises(DatasetError, match=held_by), dataset.lock():
        pass


def test_kill_9_frees_the_lock(dataset: Dataset) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, dataset.location],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DatasetError, match=rf"process {holder.pid} on "), dataset.lock():
            pass
        holder.kill()
        holder.wait()
        with dataset.lock():
            pass


def test_a_lock_that_cannot_be_opened_names_its_file(dataset: Dataset) -> None:
    (Path(dataset.location) / "_harvest/lock").mkdir()
    with pytest.raises(DatasetError, match="_harvest/lock: cannot be opened"), dataset.lock():
        pass


PARENT = """
import subprocess, sys
from harvester.dataset import Dataset, Partition
with Dataset.open(sys.argv[1]).lock() as lock:
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.readline()"], stdin=0, pass_fds=[lock.descriptor]
    )
    print("held", flush=True)
    orphan.wait()
"""


def test_a_crawl_waits_for_the_processes_of_one_that_was_killed(dataset: Dataset) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, dataset.location],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        assert parent.stdout.readline() == "held\n"
        parent.kill()
        parent.wait()
        left = threading.Event()

        def leave() -> None:
            looked.wait(300)
            left.set()
            parent.stdin.close()  # the orphan's end

        looked = threading.Event()
        look = os.kill

        def note(process: int, number: int) -> None:
            looked.set()
            look(process, number)

        thread = threading.Thread(target=leave)
        thread.start()
        with patch("harvester.dataset.lock.os.kill", note), dataset.lock():
            assert left.is_set()
        thread.join()


def test_a_lock_that_outlives_its_holder_for_long_is_told(dataset: Dataset) -> None:
    path = Path(dataset.location) / "_harvest/lock"
    with dataset.lock(), patch("harvester.dataset.lock.ORPHANS_SECONDS", 0.1):
        path.write_text(f"process 4194304 on {socket.gethostname()} since today")
        with pytest.raises(DatasetError, match="process 4194304"), dataset.lock():
            pass


def test_a_lock_file_that_is_a_link_is_not_written(dataset: Dataset, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (Path(dataset.location) / "_harvest/lock").symlink_to(mine)
    with pytest.raises(DatasetError, match="_harvest/lock: cannot be opened"), dataset.lock():
        pass
    assert mine.read_text() == "mine"


def test_a_lock_file_with_other_content_is_not_overwritten(dataset: Dataset, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (Path(dataset.location) / "_harvest/lock").hardlink_to(mine)
    with pytest.raises(DatasetError, match="not a lock file of harvester"), dataset.lock():
        pass
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_lock_file_that_is_removed_under_its_holder_is_noticed(dataset: Dataset, *, replaced: bool) -> None:
    with dataset.lock() as lock:
        held = dataset.under(lock)
        writer = held.shard_writer(hex_name("crawl"), hex_name("one"))
        writer.write_instances(pa.table({"SOPInstanceUID": ["1"]}), Partition("c", "CT"))
        file = Path(dataset.location) / "_harvest/lock"
        file.unlink()
        if replaced:
            file.write_text("process 1 on elsewhere since today")
        with pytest.raises(DatasetError, match="lost the dataset's lock"):
            writer.commit(["one"], requests=1, bytes_fetched=1, seconds=1, versions={})
        for command in (held.sweep, held.compact, held.prune):
            with pytest.raises(DatasetError, match="lost the dataset's lock"):
                command(lock)
    assert list(dataset.commits()) == []
