import os
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.dataset import Dataset
from harvester.errors import DatasetError

HOLDER = """
import sys
from harvester.dataset import Dataset
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
