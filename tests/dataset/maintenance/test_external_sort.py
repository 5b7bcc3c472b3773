import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.dataset.maintenance.external_sort import Order, Source, merged
from harvester.dataset.schema_merge import unite

KEYS = ("series", "instance")


def order(folder: Path, memory_bytes: int = 1 << 30, keys: tuple[str, ...] = KEYS) -> Order:
    return Order(keys, memory_bytes, folder / "spill")


def written(folder: Path, tables: list[pa.Table]) -> Source:
    files = []
    for number, table in enumerate(tables):
        files.append(str(folder / f"{number}.parquet"))
        pq.write_table(table, files[-1], row_group_size=1000)
    return Source(files)


def rows_of(source: Source, how: Order) -> list[dict]:
    schema = unite(pq.read_schema(file) for file in source.files)
    groups = list(merged(source, schema, how))
    assert all(group.schema == schema for group in groups)
    return [row for group in groups for row in group.to_pylist()]


def shuffled(count: int, series: int, seed: int = 7) -> pa.Table:
    chance = random.Random(seed)
    return pa.table(
        {
            "series": [chance.choice([f"1.{n}" for n in range(series)]) for _ in range(count)],
            "instance": [f"2.{chance.randrange(10**9)}" for _ in range(count)],
            "text": ["x" * chance.randrange(200) for _ in range(count)],
        }
    )


@pytest.mark.parametrize("memory_bytes", [1 << 30, 400_000, 40_000], ids=["at once", "spread", "twice"])
def test_rows_come_in_order_whatever_memory_there_is(tmp_path, memory_bytes):
    tables = [shuffled(3000, 40, seed) for seed in range(3)]
    found = rows_of(written(tmp_path, tables), order(tmp_path, memory_bytes))
    every = [row for table in tables for row in table.to_pylist()]
    assert found == sorted(every, key=lambda row: (row["series"], row["instance"]))


@pytest.mark.parametrize("memory_bytes", [1 << 30, 4000])
def test_a_missing_key_comes_last_and_a_missing_column_is_null(tmp_path, memory_bytes):
    tables = [
        pa.table({"series": ["b", None, "a"] * 50, "instance": ["1", "2", "3"] * 50}),
        pa.table({"instance": ["5", None] * 50, "more": pa.array([1, 2] * 50)}),
    ]
    found = rows_of(written(tmp_path, tables), order(tmp_path, memory_bytes))
    keys = [(row["series"], row["instance"]) for row in found]
    assert (
        keys
        == [("a", "3")] * 50
        + [("b", "1")] * 50
        + [(None, "2")] * 50
        + [(None, "5")] * 50
        + [(None, None)] * 50
    )
    assert {row["more"] for row in found[:150]} == {None}


def test_many_files_of_few_rows_are_spread(tmp_path):
    # Of most of these files no row is in the sample of keys that buckets are cut by.
    tables = [shuffled(3, 9, seed) for seed in range(1700)]
    found = rows_of(written(tmp_path, tables), order(tmp_path, 300_000))
    keys = [(row["series"], row["instance"]) for row in found]
    assert len(keys) == 5100
    assert keys == sorted(keys)


def test_rows_of_one_key_stay_together_however_many_they_are(tmp_path):
    table = pa.table({"series": ["1"] * 5000, "instance": ["2"] * 5000, "text": ["x" * 50] * 5000})
    assert len(rows_of(written(tmp_path, [table, table]), order(tmp_path, 20_000))) == 10_000


def test_without_keys_rows_stay_as_they_come(tmp_path):
    tables = [shuffled(1500, 5, seed) for seed in range(2)]
    found = rows_of(written(tmp_path, tables), order(tmp_path, keys=()))
    assert found == [row for table in tables for row in table.to_pylist()]


def test_a_spill_leaves_no_file(tmp_path):
    source = written(tmp_path, [shuffled(3000, 40)])
    source = Source([*source.files, *source.files])
    stream = merged(source, pq.read_schema(source.files[0]), order(tmp_path, 40_000))
    next(stream)
    assert list((tmp_path / "spill").iterdir()) == []
