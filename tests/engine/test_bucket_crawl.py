"""Crawls into a bucket: killed, counted, queried, indexed and compacted as one in a directory."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from bucket_servers import Bucket
from harvester_program import Ended, ended, run, start
from recorded_demo import RecordedDemo, recorded_demo
from request_gate import Gate

from harvester.dataset import Dataset
from harvester.query import build_index, open_dataset, run_query

LIMITS = "concurrency = 4\nshard_instances = 8\nprocesses = 2"
SELECTION = "where = \"collection_id = 'pydicom_test_files'\""


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def demo(gate: Gate) -> Iterator[RecordedDemo]:
    with recorded_demo(hold=gate) as demo:
        yield demo
        gate.open()


@pytest.fixture
def toml(demo: RecordedDemo, writable_bucket: Bucket, tmp_path: Path) -> Path:
    path = demo.toml(tmp_path, select=SELECTION, limits=LIMITS)
    text = path.read_text().replace(f"{tmp_path}/dataset", writable_bucket.place("crawled/all"))
    path.write_text(text)
    return path


def done(result: Ended) -> dict[str, object]:
    assert result.status in (0, 3), result.stderr
    return json.loads(result.stdout)


def addresses(place: str) -> Counter[str]:
    """The addresses of all committed rows."""
    dataset = Dataset.open(place)
    return Counter(
        address
        for kind in ("instances", "failures")
        for part in dataset.parts(kind)  # type: ignore[arg-type]
        for address in dataset.storage.parquet(part.path).read(["instance_url"])["instance_url"].to_pylist()
    )


def rows(place: str, sql: str) -> list[dict[str, object]]:
    with open_dataset(place) as connection:
        return [row for batch in run_query(connection, sql).batches() for row in batch.to_pylist()]


@pytest.mark.parametrize("writable_bucket", ["s3", pytest.param("gs", marks=pytest.mark.slow)], indirect=True)
def test_a_crawl_that_was_killed_goes_on_and_everything_reads_what_it_brings(
    demo: RecordedDemo, gate: Gate, toml: Path, writable_bucket: Bucket
) -> None:
    place = writable_bucket.place("crawled/all")
    demo.forget()
    gate.close_at(60)
    process = start("crawl", toml, "--json")
    assert gate.reached.wait(300)
    process.send_signal(signal.SIGKILL)
    assert ended(process).status == -signal.SIGKILL
    gate.open()
    before = addresses(place)
    assert before
    assert set(before.values()) == {1}
    demo.forget()
    last = done(run("crawl", toml, "--json"))
    assert (last["skipped"], last["dataset"]) == (len(before), place)
    asked = {f"s3://{demo.address.bucket}/{key}" for key in demo.objects}
    assert not asked & before.keys(), "what is committed was asked for again"
    everything = addresses(place)
    assert set(everything.values()) == {1}
    dataset = Dataset.open(place)
    parts = {part.path for kind in ("instances", "failures") for part in dataset.parts(kind)}  # type: ignore[arg-type]
    assert {path for kind in ("instances", "failures") for path in dataset.storage.list_files(kind)} == parts

    counted = rows(place, "SELECT count(*), sum(bytes_fetched), count(DISTINCT Modality) FROM instances")
    with dataset.lock() as lock:
        assert dataset.compact(lock).partitions > 1
    assert (
        rows(place, "SELECT count(*), sum(bytes_fetched), count(DISTINCT Modality) FROM instances") == counted
    )
    with open_dataset(place) as connection:
        assert sum(batch.num_rows for batch in build_index(connection, "ct_index").batches()) > 0


def test_the_endpoint_can_come_from_the_environment(
    writable_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = writable_bucket.place("environment/ds")
    Dataset.create(place)
    name = "AWS_ENDPOINT_URL" if writable_bucket.scheme == "s3" else "STORAGE_EMULATOR_HOST"
    monkeypatch.setenv(name, writable_bucket.endpoint)
    assert Dataset.open(place.partition("?")[0]).location == place
