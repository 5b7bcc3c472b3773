"""The lock of a dataset in a bucket: one holder, whom everybody can name, and who loses it when dead."""

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pyarrow as pa
import pytest
from bucket_servers import CREDENTIALS, Bucket, gcs_bucket
from hex_names import hex_name

from harvester.dataset import Dataset, Partition
from harvester.dataset.bucket import BucketStorage
from harvester.dataset.bucket.lease import hold_lease
from harvester.dataset.paths import LEASE
from harvester.errors import DatasetError

HOLDER = """
import sys
from harvester.dataset import Dataset
with Dataset.open(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def dataset(writable_bucket: Bucket, request: pytest.FixtureRequest) -> Dataset:
    return Dataset.create(writable_bucket.place(f"locks/{request.node.name.partition('[')[0]}"))


def storage(dataset: Dataset) -> BucketStorage:
    assert isinstance(dataset.storage, BucketStorage)
    return dataset.storage


def someone_else(dataset: Dataset, **facts: object) -> None:
    """A process of another machine takes the lock, held or not."""
    owner = {
        "token": "theirs",
        "process": 7,
        "host": "elsewhere",
        "machine": "elsewhere",
        "since": "2026-01-01 00:00:00 UTC",
        **facts,
    }
    with dataset.storage.write(LEASE) as stream:
        stream.write(json.dumps(owner).encode())


def test_one_holds_it_and_the_other_hears_who(dataset: Dataset) -> None:
    with dataset.lock() as lock:
        assert lock.token
        with pytest.raises(DatasetError, match=r"another crawl is writing this dataset \(process \d+ on"):
            dataset.lock().__enter__()
    with dataset.lock() as again:
        assert again.token != lock.token


def test_of_many_who_try_at_once_one_gets_it(dataset: Dataset) -> None:
    together, done = threading.Barrier(6), threading.Event()
    got: list[str] = []

    def attempt() -> None:
        together.wait()
        try:
            with dataset.lock() as lock:
                got.append(str(lock.token))
                done.wait(300)
        except DatasetError:
            got.append("")
        if len(got) == 6:
            done.set()

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.05)
            if len(got) == 6:
                done.set()
    assert sorted(map(bool, got)) == [False] * 5 + [True]


def test_a_holder_that_was_killed_here_loses_it_at_once(dataset: Dataset) -> None:
    command = [sys.executable, "-c", HOLDER, dataset.location]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DatasetError, match=f"process {holder.pid} on"):
            dataset.lock().__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with dataset.lock():
            pass


def test_a_holder_elsewhere_loses_it_when_it_has_not_renewed_it(dataset: Dataset) -> None:
    someone_else(dataset, lifetime=3600)
    with pytest.raises(DatasetError, match=r"process 7 on elsewhere.* loses the lock in 3[56]\d\d s"):
        dataset.lock().__enter__()
    someone_else(dataset, lifetime=-1)  # as if that time were over
    with dataset.lock():
        pass


@pytest.mark.parametrize("minutes", [-10, 10])
def test_clocks_ten_minutes_apart_change_nothing(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """The age of a lease is the difference of two times of the server."""
    offset, now = timedelta(minutes=minutes), time.time

    class OtherClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + offset

    with dataset.lock() as lock:
        for module in ("lease", "conditional_put"):
            monkeypatch.setattr(f"harvester.dataset.bucket.{module}.datetime", OtherClock)
        monkeypatch.setattr("time.time", lambda: now() + offset.total_seconds())
        with pytest.raises(DatasetError, match=r"it loses the lock in (5|6)\d s"):
            dataset.lock().__enter__()
        dataset.under(lock).storage.confirm()
    with dataset.lock() as lock:  # by the other clock
        monkeypatch.undo()
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(DatasetError, match=r"it loses the lock in (5|6)\d s"):
            dataset.lock().__enter__()
        dataset.under(lock).storage.confirm()


@pytest.mark.parametrize("facts", [{"lifetime": 1e300}, {"lifetime": "long"}, {"process": -1}])
def test_a_lock_of_impossible_numbers_is_free(dataset: Dataset, facts: dict[str, object]) -> None:
    someone_else(dataset, **facts)
    with dataset.lock():
        pass


def test_a_lock_that_says_nothing_is_free(dataset: Dataset) -> None:
    with dataset.storage.write(LEASE) as stream:
        stream.write(b"{}")
    with dataset.lock():
        pass


def test_a_lock_is_renewed_and_its_loss_is_seen(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    with hold_lease(storage(dataset).access) as lease:
        before = lease.version
        lease.renew()
        assert lease.owner.renewals == 1
        assert lease.version != before
        someone_else(dataset)
        lease.renew()
    assert "another process has taken the dataset's lock" in caplog.text
    there = json.loads(dataset.storage.read(LEASE))
    assert there["token"] == "theirs", "who lost it has let the other's go"


def test_who_has_lost_it_commits_nothing(dataset: Dataset) -> None:
    with dataset.lock() as lock:
        held = dataset.under(lock)
        writer = held.shard_writer(hex_name("crawl"), hex_name("one"))
        writer.write_instances(pa.table({"SOPInstanceUID": ["1"]}), Partition("c", "CT"))
        someone_else(dataset)
        with pytest.raises(DatasetError, match=r"lost the dataset's lock \(process 7 on elsewhere"):
            writer.commit(["one"], requests=1, bytes_fetched=1, seconds=1, versions={})
        with pytest.raises(DatasetError, match="lost the dataset's lock"):
            dataset.sweep(lock)
    assert list(dataset.commits()) == []


def test_without_credentials_nobody_can_write(
    writable_bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if writable_bucket.scheme == "gs":
        pytest.skip("an emulator of Google's takes everybody; the real one is not asked by a test")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(
        DatasetError, match=r"there are no credentials for this bucket; set AWS_ACCESS_KEY_ID"
    ):
        Dataset.create(writable_bucket.place("locks/none"))


def test_a_server_that_ignores_conditions_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with gcs_bucket("--deaf") as bucket:
        with Dataset.create(bucket.place("ds")).lock():
            pass
        assert "ignores conditional writes" in caplog.text
