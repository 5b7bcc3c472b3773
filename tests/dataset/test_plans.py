import gzip
import time
from pathlib import Path

import pytest

from harvester.dataset import Dataset
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


def test_a_plan_comes_back_whole(dataset: Dataset) -> None:
    listed = Series(
        key="k\n\0",
        objects=(
            ListedObject(ObjectRef("", "/data/ä.dcm", "file"), 0, None),
            ListedObject(ObjectRef("b", "k"), 2**40, "etag-1"),
        ),
    )
    plan = Plan("p", (Shard("a", (whole_series(0), whole_series(7))), Shard("b", (listed,)), Shard("c", ())))
    dataset.save_plan(plan)
    assert dataset.load_plan("p") == plan


def test_the_same_plan_gives_the_same_file(dataset: Dataset) -> None:
    plan = Plan("p", (Shard("a", (whole_series(1),)),))
    path = Path(dataset.location) / "_harvest/plans/p.json.gz"
    dataset.save_plan(plan)
    first = path.read_bytes()
    dataset.save_plan(plan)
    assert path.read_bytes() == first


def test_a_plan_that_was_never_saved_is_none(dataset: Dataset) -> None:
    assert dataset.load_plan("p") is None


def test_a_hundred_thousand_series_are_quick_and_compact(dataset: Dataset) -> None:
    series = tuple(whole_series(number) for number in range(100_000))
    plan = Plan("p", tuple(Shard(f"s{n}", series[n * 100 : n * 100 + 100]) for n in range(1000)))
    began = time.process_time()
    dataset.save_plan(plan)
    loaded = dataset.load_plan("p")
    seconds = time.process_time() - began
    assert loaded == plan
    assert (Path(dataset.location) / "_harvest/plans/p.json.gz").stat().st_size < 20_000_000
    assert seconds < 10


@pytest.mark.parametrize("damage", ["cut", "text", "shape", "empty", "name"])
def test_a_corrupt_plan_names_its_file(dataset: Dataset, damage: str) -> None:
    path = Path(dataset.location) / "_harvest/plans/p.json.gz"
    dataset.save_plan(Plan("p", (Shard("a", (whole_series(1),)),)))
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut": whole[:-20],
            "text": b"{}",
            "shape": gzip.compress(b'{"name": "p", "shards": [{"name": 1}]}'),
            "empty": b"",
            "name": gzip.compress(b'{"name": "q", "shards": []}'),
        }[damage]
    )
    with pytest.raises(DatasetError, match=r"plans/p\.json\.gz.*delete it"):
        dataset.load_plan("p")


def test_a_key_that_is_no_unicode_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="not UTF-8"):
        dataset.save_plan(Plan("p", (Shard("a", (Series(key="\udcff"),)),)))
