import tracemalloc
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.dataset import Dataset
from harvester.dataset.plans import spool
from harvester.errors import DatasetError
from harvester.model import ListedObject, ObjectRef, Plan, Series, Shard


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "ds")


def whole_series(number: int) -> Series:
    return Series(
        key=f"series-{number}",
        prefixes=(
            ObjectRef("idc-open-data", f"{number:032x}/"),
            ObjectRef("idc-open", f"{number}/ü %2F", "gs"),
        ),
        series_instance_uid=f"1.3.6.1.4.1.14519.5.2.1.7009.9004.{number}",
        crdc_series_uuid=f"{number:032x}",
        collection_id="nlst",
        modality="CT",
        instance_count=number,
        size=number * 500_000,
        idc_version=21,
    )


def shards_of(dataset: Dataset) -> tuple[Shard, ...]:
    plan = dataset.load_plan("p")
    assert plan is not None
    assert isinstance(plan.shards, Collection)
    assert len(plan.shards) == len(tuple(plan.shards))
    return tuple(plan.shards)


def test_a_plan_comes_back_whole(dataset: Dataset) -> None:
    listed = Series(
        key="k\n\0",
        objects=(
            ListedObject(ObjectRef("", "/data/ä.dcm", "file"), 0, None),
            ListedObject(ObjectRef("", "/data/a b %20?#\udcfc.dcm", "file"), 0, None),
            ListedObject(ObjectRef("b", "k"), 2**40, "etag-1"),
        ),
    )
    shards = (Shard("a", (whole_series(0), whole_series(7))), Shard("b", (listed,)))
    dataset.save_plan(Plan("p", shards))
    assert shards_of(dataset) == shards
    spooled = spool(shards)
    assert (spooled.names, spooled.series, spooled.instances) == (("a", "b"), 3, None)
    assert tuple(spooled) == shards
    dataset.save_plan(Plan("p", spooled))
    assert shards_of(dataset) == shards


def test_shards_in_a_file_are_gone_through_again_and_at_the_same_time() -> None:
    shards = tuple(Shard(f"s{n}", tuple(whole_series(n * 10 + m) for m in range(10))) for n in range(500))
    spooled = spool(iter(shards))
    assert spooled.instances == sum(range(5000))
    assert len(spooled) == 500
    one, other = iter(spooled), iter(spooled)
    assert next(one) == shards[0]
    assert tuple(other) == shards
    assert tuple(one) == shards[1:]


def test_a_plan_that_has_no_room_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DatasetError, match="set TMPDIR to a folder with room"):
        spool([])


def test_the_same_plan_gives_the_same_file(dataset: Dataset) -> None:
    plan = Plan("p", (Shard("a", (whole_series(1),)),))
    path = Path(dataset.location) / "_harvest/plans/p.plan"
    dataset.save_plan(plan)
    first = path.read_bytes()
    dataset.save_plan(plan)
    assert path.read_bytes() == first


def test_a_plan_that_was_never_saved_is_none(dataset: Dataset) -> None:
    assert dataset.load_plan("p") is None


def test_a_plan_of_many_series_is_compact(dataset: Dataset) -> None:
    series = tuple(whole_series(number) for number in range(20_000))
    plan = Plan("p", tuple(Shard(f"s{n}", series[n * 100 : n * 100 + 100]) for n in range(200)))
    dataset.save_plan(plan)
    assert shards_of(dataset) == plan.shards
    assert (Path(dataset.location) / "_harvest/plans/p.plan").stat().st_size < 4_000_000


def other_table(folder: Path) -> bytes:
    pq.write_table(pa.table({"shard": ["a"]}), folder / "other.parquet")
    return (folder / "other.parquet").read_bytes()


def test_of_a_plan_of_named_objects_few_are_held_at_a_time() -> None:
    def shards() -> Iterator[Shard]:
        for number in range(60):
            refs = (ObjectRef("b", f"{number:032x}/{one:032x}.dcm") for one in range(1000))
            yield Shard(
                f"{number}", (Series(f"s{number}", objects=tuple(ListedObject(ref, 1) for ref in refs)),)
            )

    assert len(spool([Shard("s", (Series("k"),))])) == 1  # Arrow loads pandas when it is first given a list
    tracemalloc.start()
    try:
        spooled = spool(shards())
        assert sum(len(one.objects) for shard in spooled for one in shard.series) == 60_000
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert highest < 10_000_000


@pytest.mark.parametrize("damage", ["cut", "text", "shape", "empty"])
def test_a_corrupt_plan_names_its_file(dataset: Dataset, tmp_path: Path, damage: str) -> None:
    path = Path(dataset.location) / "_harvest/plans/p.plan"
    dataset.save_plan(Plan("p", (Shard("a", (whole_series(1),)),)))
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut": whole[:-20],
            "text": b"{}",
            "shape": other_table(tmp_path),
            "empty": b"",
        }[damage]
    )
    with pytest.raises(DatasetError, match=r"plans/p\.plan.*delete it"):
        dataset.load_plan("p")


def test_a_key_that_is_no_unicode_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="not UTF-8"):
        dataset.save_plan(Plan("p", (Shard("a", (Series(key="\udcff"),)),)))
