"""Records of someone else are checked where they are read: paths, keys, numbers and versions."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bucket_servers import CREDENTIALS, Bucket
from hex_names import hex_name

from harvester.audits.history import latest_audit
from harvester.audits.report.facts import gather
from harvester.dataset import Dataset, Partition
from harvester.dataset.paths import MARKS, part_path
from harvester.engine.calibration import recorded_rates
from harvester.errors import DatasetError
from harvester.model import ListedObject, ObjectRef, Plan, Series, Shard

CRAWL, ONE, TWO = hex_name("crawl"), hex_name("one"), hex_name("two")
COMMIT = f"_harvest/commits/{CRAWL}.{ONE}.json"
SNAPSHOT = "_harvest/snapshot.json"
OPEN = f"_harvest/open/{CRAWL}.{ONE}.json"
OTHER_PART = part_path("instances", f"{CRAWL}.{TWO}.0.parquet", Partition("c", "CT"))
COMPACTED = part_path("instances", "compacted.g1.0.parquet", Partition("c", "CT"))
RUN = f"_harvest/runs/20260101T000000.000000Z-{CRAWL}.json"
AUDIT = "_harvest/audits/20260101T000000.000000Z-a/audit.json"


@pytest.fixture(scope="module", params=["directory", "bucket"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    """Two committed shards and a snapshot; each test restores the record that it replaces."""
    with pytest.MonkeyPatch.context() as environment:
        place = str(tmp_path_factory.mktemp("hostile") / "ds")
        if request.param == "bucket":
            bucket: Bucket = request.getfixturevalue("writable_s3")
            place = bucket.place("hostile")
            for name, value in CREDENTIALS.items():
                environment.setenv(name, value)
        yield made(place)


def made(place: str) -> Dataset:
    dataset = Dataset.create(place)
    for shard in (ONE, TWO):
        writer = dataset.shard_writer(CRAWL, shard)
        table = pa.table({"SOPInstanceUID": [shard], "instance_url": [f"s3://b/{shard}"]})
        writer.write_instances(table, Partition("c", "CT"))
        writer.commit({shard: (1, 0)}, requests=1, bytes_fetched=1, seconds=1, versions={})
    with dataset.lock() as lock:
        dataset.checkpoint(lock)
    return dataset


def put(dataset: Dataset, path: str, content: bytes) -> None:
    """Write a file as a stranger does."""
    if dataset.storage.filesystem is None:
        target = Path(dataset.location) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    else:
        with dataset.storage.filesystem.open_output_stream(dataset.storage.file(path)) as stream:
            stream.write(content)


def files(dataset: Dataset) -> set[str]:
    return set(dataset.storage.list_files("")) - {"_harvest/lock", "_harvest/lock.json"}


def sweep(dataset: Dataset) -> None:
    with dataset.lock() as lock:
        dataset.under(lock).sweep(lock)


def compact(dataset: Dataset) -> None:
    with dataset.lock() as lock:
        dataset.under(lock).compact(lock)


def set_to(*keys: str | int, value: object) -> Callable[[Any], None]:
    """An edit of a record: one value is replaced."""

    def edit(record: Any) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value

    return edit


def part(path: str) -> dict[str, object]:
    return {"path": path, "rows": 1, "bytes": 1}


COMMITS = {
    "another format": set_to("format", value=2),
    "an unknown key": set_to("extra", value=1),
    "a name with a path": set_to("crawl", value="../x"),
    "a shard of another name": set_to("shard", value=TWO),
    "a part of another shard": set_to("parts", 0, "path", value=OTHER_PART),
    "a compacted part": set_to("parts", 0, "path", value=COMPACTED),
    "an absolute path": set_to("parts", 0, "path", value="/etc/passwd"),
    "a path out of the dataset": set_to("parts", 0, "path", value="failures/../../x.parquet"),
    "negative rows": set_to("parts", 0, "rows", value=-1),
    "a part twice": lambda record: record["parts"].append(record["parts"][0]),
    "a negative generation": set_to("generation", value=-1),
    "negative counts": set_to("counts", value={ONE: [-1, 0]}),
    "a time without zone": set_to("committed_at", value="yesterday"),
    "a list": lambda record: record.clear(),
}
SNAPSHOTS = {
    "another format": set_to("format", value=2),
    "an unknown key": set_to("extra", value=1),
    "a merged path out of the dataset": set_to("merged", value=["../x"]),
    "a commit's path out of the dataset": set_to(
        "commits", value={"_harvest/commits/../../x": {"size": 1, "time": 1, "parts": []}}
    ),
    "a part of a crawl as a compacted one": set_to("compacted", value=[part(OTHER_PART)]),
    "a part of a later generation": set_to("compacted", value=[part(COMPACTED)]),
    "a kept generation that never was": set_to("kept", value={"7": "2026-01-01T00:00:00Z"}),
    "a time without zone": set_to("kept", value={"0": "2026-01-01T00:00:00"}),
    "a negative generation": set_to("generation", value=-1),
}
OPENED = {
    "a stranger's path": {"committed": ["../../x"]},
    "another shard's part": {"committed": [OTHER_PART]},
    "an unknown key": {"committed": [], "extra": 1},
    "a text": {"committed": "x"},
    "a list": [],
}


def assert_refused(dataset: Dataset, path: str, content: bytes) -> None:
    """Each writing command ends with one line that names the record, and touches nothing."""
    earlier = dataset.storage.find(path)
    put(dataset, path, content)
    before = files(dataset)
    try:
        commands = (sweep, compact) if dataset.storage.filesystem is None else (sweep,)
        for command in commands:
            with pytest.raises(DatasetError) as refusal:
                command(dataset)
            assert path in str(refusal.value)
            assert "\n" not in str(refusal.value)
            assert files(dataset) == before
    finally:
        if earlier is None:
            dataset.storage.delete(path)
        else:
            put(dataset, path, earlier)


@pytest.mark.parametrize("case", COMMITS)
def test_a_commit_of_someone_else_is_refused(dataset: Dataset, case: str) -> None:
    record = json.loads(dataset.storage.read(COMMIT))
    COMMITS[case](record)
    assert_refused(dataset, COMMIT, json.dumps(record).encode())


@pytest.mark.parametrize("case", SNAPSHOTS)
def test_a_snapshot_of_someone_else_is_refused(dataset: Dataset, case: str) -> None:
    record = json.loads(dataset.storage.read(SNAPSHOT))
    SNAPSHOTS[case](record)
    assert_refused(dataset, SNAPSHOT, json.dumps(record).encode())


def test_columns_of_someone_else_are_refused(dataset: Dataset) -> None:
    earlier = dataset.storage.read(SNAPSHOT)
    strange = pa.schema([("m", pa.map_(pa.string(), pa.int64()))]).serialize().to_pybytes()
    for columns in ("AAAA", base64.b64encode(strange).decode()):
        put(dataset, SNAPSHOT, json.dumps(json.loads(earlier) | {"columns": {"instances": columns}}).encode())
        with pytest.raises(DatasetError, match=rf"{SNAPSHOT}: corrupt snapshot \(columns: [^\n]*$"):
            compact(dataset)
    put(dataset, SNAPSHOT, earlier)


@pytest.mark.parametrize("case", OPENED)
def test_a_record_of_an_open_shard_of_someone_else_is_refused(dataset: Dataset, case: str) -> None:
    stray = part_path("instances", f"{CRAWL}.{ONE}.1.parquet", Partition("c", "CT"))
    put(dataset, stray, b"left by an interrupted crawl")
    assert_refused(dataset, OPEN, json.dumps(OPENED[case]).encode())
    dataset.storage.delete(stray)


def marks(**columns: list[object]) -> bytes:
    schema = {
        "crdc_series_uuid": pa.string(),
        "instance_url": pa.string(),
        "superseded_in": pa.int64(),
        "superseded_at": pa.timestamp("us"),
        "collection_id": pa.string(),
        "moved_from": pa.string(),
        "moved_in": pa.int64(),
    }
    stream = io.BytesIO()
    rows = {name: pa.array(columns.get(name, [None]), kind) for name, kind in schema.items()}
    pq.write_table(pa.table(rows), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1 not Parquet PAR1",
        marks(),
        marks(instance_url=["s3://b/x"]),
        marks(instance_url=["s3://b/x"], crdc_series_uuid=["u"]),
    ],
    ids=["empty", "not Parquet", "no key", "no time", "two keys"],
)
def test_marks_of_someone_else_are_refused(dataset: Dataset, content: bytes) -> None:
    assert_refused(dataset, MARKS, content)


def plan(name: str = ONE, key: str = "k", scheme: str = "s3", size: int | None = 1) -> Plan:
    listed = ListedObject(ObjectRef("b", "k", scheme), size)
    return Plan(CRAWL, (Shard(name, (Series(key, objects=(listed,)),)),))


@pytest.mark.parametrize(
    "hostile",
    [plan(name="../x"), plan(key=""), plan(scheme="ssh"), plan(size=-1)],
    ids=["shard", "key", "scheme", "size"],
)
def test_a_plan_of_someone_else_is_refused(dataset: Dataset, hostile: Plan) -> None:
    dataset.save_plan(hostile)
    with pytest.raises(DatasetError, match=rf"{CRAWL}.plan: corrupt plan .*; delete it to plan anew"):
        dataset.load_plan(CRAWL)
    dataset.save_plan(plan())
    assert dataset.load_plan(CRAWL) is not None


RUNS = {
    "no totals": set_to("totals", value=[]),
    "negative": set_to("totals", "instances", value=-1),
    "text": set_to("totals", "instances", value="many"),
    "no time": set_to("started_at", value="\x1b[31m"),
    "no number": set_to("cpu_seconds", value="fast"),
}


def test_a_run_record_of_someone_else_is_left_out(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    totals = {"instances": 5000, "failures": 0, "requests": 5000, "bytes_fetched": 1, "seconds": 2.0}
    record = {"started_at": "2026-01-01T00:00:00Z", "processes": 1, "cpu_seconds": 10.0, "totals": totals}
    put(dataset, RUN, json.dumps(record).encode())
    rates = recorded_rates(dataset.location)
    assert rates is not None
    assert rates.headers_per_core_second == 500
    for edit in RUNS.values():
        edited = json.loads(json.dumps(record))
        edit(edited)
        put(dataset, RUN, json.dumps(edited).encode())
        assert recorded_rates(dataset.location) is None
    assert caplog.text.count(f"{RUN}: corrupt record of a run") == len(RUNS)
    assert gather(dataset.location).runs == ()
    dataset.storage.delete(RUN)


def test_the_record_of_an_audit_of_someone_else_is_refused(dataset: Dataset) -> None:
    put(dataset, "_harvest/audits/zzz/audit.json", b"not harvester's")
    assert latest_audit(dataset) is None
    put(dataset, AUDIT, b'{"audit": "a", "rules": [{"name": 1}]}')
    with pytest.raises(DatasetError, match=rf"{AUDIT}: corrupt record of an audit"):
        latest_audit(dataset)
    dataset.storage.delete(AUDIT)
