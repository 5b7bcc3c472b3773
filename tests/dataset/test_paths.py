from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from harvester.dataset.paths import (
    Partition,
    encode_value,
    is_part_path,
    is_temporary_path,
    part_name,
    part_path,
)

HARD_VALUES = [
    "nlst",
    "a/b",
    "a=b",
    "100%",
    "%2F",
    ".",
    "..",
    "../../etc",
    "",
    " ",
    "a b",
    "a+b",
    "Grüße/漢字/🙂",
    "*?[x]{y}",
    "'q' \"r\" \\",
    "#&;~",
    "a\nb",
    "01",
    "2020-01-01",
    "x" * 150,
    None,
]


def written_with_partitions(root: Path, values: list[str | None]) -> None:
    for number, value in enumerate(values):
        path = root / part_path("instances", part_name("c", "s", number), Partition(value, value))
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"number": [number]}), path)


def test_duckdb_decodes_every_partition_value(tmp_path: Path) -> None:
    written_with_partitions(tmp_path, HARD_VALUES)
    rows = duckdb.execute(
        "SELECT number, collection_id, Modality FROM read_parquet(?, hive_partitioning=true,"
        " hive_types={'collection_id': VARCHAR, 'Modality': VARCHAR}) ORDER BY number",
        [f"{tmp_path}/instances/**/*.parquet"],
    ).fetchall()
    assert rows == [(number, value, value) for number, value in enumerate(HARD_VALUES)]


def test_a_value_that_looks_like_null_is_none(tmp_path: Path) -> None:
    """For DuckDB; pyarrow decodes a folder's name before it looks for NULL."""
    values = ["__HIVE_DEFAULT_PARTITION__", None, "%5F_HIVE_DEFAULT_PARTITION__"]
    written_with_partitions(tmp_path, values)
    rows = duckdb.execute(
        "SELECT Modality FROM read_parquet(?, hive_partitioning=true) ORDER BY number",
        [f"{tmp_path}/instances/**/*.parquet"],
    ).fetchall()
    assert rows == [(value,) for value in values]


def test_pyarrow_decodes_every_partition_value(tmp_path: Path) -> None:
    written_with_partitions(tmp_path, HARD_VALUES)
    schema = pa.schema([("collection_id", pa.string()), ("Modality", pa.string())])
    table = pads.dataset(
        tmp_path / "instances", partitioning=pads.partitioning(schema, flavor="hive")
    ).to_table()
    found = {row["number"]: (row["collection_id"], row["Modality"]) for row in table.to_pylist()}
    assert found == {number: (value, value) for number, value in enumerate(HARD_VALUES)}


@pytest.mark.parametrize("value", ["x" * 100_000, "漢" * 100_000, "a" * 199 + "漢", "/" * 67])
def test_a_long_value_is_bounded_and_stays_distinct(value: str, tmp_path: Path) -> None:
    assert len(encode_value(value)) <= 200
    assert encode_value(value) != encode_value(value + "x")
    written_with_partitions(tmp_path, [value])
    kept = duckdb.execute(
        "SELECT collection_id FROM read_parquet(?, hive_partitioning=true)",
        [f"{tmp_path}/instances/**/*.parquet"],
    ).fetchall()
    assert value.startswith(kept[0][0].partition("~")[0])


def test_a_lone_surrogate_can_be_a_folder() -> None:
    assert encode_value("a\udcff") == "a%3F"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a.b", "-a", "a b", "ä", "a\n", "x" * 101])
def test_a_name_that_could_leave_the_dataset_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        part_name(name, "shard")
    with pytest.raises(ValueError, match="cannot name a file"):
        part_name("crawl", name)


def test_two_shards_never_share_a_part_name() -> None:
    names = {
        part_name(crawl, shard, number)
        for crawl in ("a", "a-1", "1")
        for shard in ("b", "1-b", "b-1", "1")
        for number in range(3)
    }
    assert len(names) == 3 * 4 * 3


def test_only_our_own_paths_are_recognised() -> None:
    name = part_name("c" * 16, "5" * 16)
    assert is_part_path(part_path("failures", name))
    assert all(is_part_path(part_path("frames", name, Partition(value, value))) for value in HARD_VALUES)
    for stranger in (
        f"other/{name}",
        f"instances/{name}",
        f"failures/x/{name}",
        f"failures/../{name}",
        f"instances/collection_id=a/{name}",
        f"instances/collection_id=a/Modality=CT/x/{name}",
        f"instances/collection_id=a/../Modality=CT/{name}",
        "failures/part.parquet",
        "failures/my.data.parquet",
        "failures/my.data.0.parquet",
        f"instances/collection_id=a/Modality=C T/{name}",
        f"failures/{name}.bak",
        f"/failures/{name}",
    ):
        assert not is_part_path(stranger), stranger
    assert is_temporary_path("_harvest/unfinished/" + "0" * 32 + ".tmp")
    assert not is_temporary_path("_harvest/unfinished/notes.txt")


def test_failures_have_no_partition_and_the_others_need_one() -> None:
    with pytest.raises(ValueError, match="partition"):
        part_path("failures", part_name("c", "s"), Partition("a", "CT"))
    with pytest.raises(ValueError, match="partition"):
        part_path("instances", part_name("c", "s"))
