import io
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.dataset.parquet_writer import row_groups, write_part

MIB = 1024 * 1024


def written(table: pa.Table) -> pq.ParquetFile:
    stream = io.BytesIO()
    write_part(table, stream)
    return pq.ParquetFile(io.BytesIO(stream.getvalue()))


def test_every_type_of_the_contract_comes_back() -> None:
    code = pa.struct([("CodeValue", pa.string()), ("Values", pa.list_(pa.float64()))])
    schema = pa.schema(
        [
            ("text", pa.string()),
            ("number", pa.float64()),
            ("signed", pa.int64()),
            ("unsigned", pa.uint64()),
            ("day", pa.date32()),
            ("clock", pa.time64("us")),
            ("moment", pa.timestamp("us")),
            ("name", pa.struct([("Alphabetic", pa.string()), ("Ideographic", pa.string())])),
            ("texts", pa.list_(pa.string())),
            ("sequence", pa.list_(pa.struct([("code", pa.list_(code)), ("x", pa.int64())]))),
            ("flag", pa.bool_()),
        ]
    )
    rows: list[dict[str, Any]] = [
        {
            "text": "a\0b ü",
            "number": 0.1,
            "signed": -(2**63),
            "unsigned": 2**64 - 1,
            "day": date(1, 1, 1),
            "clock": time(23, 59, 59, 999999),
            "moment": datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
            "name": {"Alphabetic": "A^B", "Ideographic": None},
            "texts": ["a", None, ""],
            "sequence": [{"code": [{"CodeValue": "T", "Values": [1.5]}], "x": None}, {"code": [], "x": 1}],
            "flag": True,
        },
        dict.fromkeys(schema.names),
        {**dict.fromkeys(schema.names), "texts": [], "sequence": []},
    ]
    table = pa.Table.from_pylist(rows, schema=schema)
    assert written(table).read().equals(table)


def test_a_row_group_is_bounded_in_rows() -> None:
    table = pa.table({"x": range(10)})
    assert [group.column("x").to_pylist() for group in row_groups(table, maximum_rows=4)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]


def test_a_row_group_is_bounded_in_bytes_and_keeps_the_order() -> None:
    table = pa.table({"n": range(40), "text": ["x" * (n * 1000) for n in range(40)]})
    groups = list(row_groups(table, maximum_bytes=50_000))
    assert all(group.nbytes <= 50_000 for group in groups)
    assert pa.concat_tables(groups).equals(table)
    assert 780_000 // 50_000 < len(groups) < 40


def test_a_row_beyond_the_bound_stands_alone() -> None:
    table = pa.table({"text": ["x", "y" * 1000, "z", "z"]})
    assert [group.num_rows for group in row_groups(table, maximum_bytes=200)] == [1, 1, 2]


def test_rows_of_megabytes_never_make_a_page_that_breaks_readers() -> None:
    item = pa.struct([("Name", pa.string())])
    rows = [{"Sequence": [{"Name": f"{row}.{n}" + "x" * 1000} for n in range(4000)]} for row in range(40)]
    table = pa.Table.from_pylist(rows, schema=pa.schema([("Sequence", pa.list_(item))]))
    assert table.nbytes > 150 * MIB
    metadata = written(table).metadata
    sizes = [metadata.row_group(n).column(0).total_uncompressed_size for n in range(metadata.num_row_groups)]
    assert metadata.num_rows == 40
    assert max(sizes) <= 65 * MIB


def test_a_table_without_rows_can_be_written() -> None:
    assert written(pa.table({"x": pa.array([], pa.string())})).read().num_rows == 0


def test_flat_columns_have_statistics_and_all_are_compressed() -> None:
    metadata = written(pa.table({"StudyDate": [date(2020, 1, 1)], "n": [[1]]})).metadata.row_group(0)
    assert metadata.column(0).statistics.max == date(2020, 1, 1)
    assert {metadata.column(n).compression for n in range(2)} == {"ZSTD"}


@pytest.mark.parametrize(("name", "dictionary"), [("Manufacturer", True), ("SOPInstanceUID", False)])
def test_texts_that_repeat_have_a_dictionary(name: str, dictionary: bool) -> None:  # noqa: FBT001
    nested = pa.array([[{"CodeValue": "T"}]] * 2, pa.list_(pa.struct([("CodeValue", pa.string())])))
    group = written(pa.table({name: ["a", "a"], "Sequence": nested, "x": [1, 1]})).metadata.row_group(0)
    assert [group.column(n).has_dictionary_page for n in range(3)] == [dictionary, True, False]


def test_six_hundred_nested_columns_are_written_in_a_moment() -> None:
    code = pa.struct([("CodeValue", pa.string()), ("CodeMeaning", pa.string())])
    item = pa.struct([("Code", pa.list_(code)), ("Value", pa.float64())])
    row = {
        f"Sequence{n}": [{"Code": [{"CodeValue": "T", "CodeMeaning": "x"}], "Value": 1.0}] for n in range(600)
    }
    schema = pa.schema([(name, pa.list_(item)) for name in row])
    table = pa.Table.from_pylist([row] * 50, schema=schema)
    file = written(table)
    assert file.read().equals(table)
    # A footer that holds the Arrow schema too is as large as the data of a thousand rows.
    assert b"ARROW:schema" not in (file.metadata.metadata or {})


def sequence_of_depth(depth: int, leaf: pa.DataType) -> pa.DataType:
    kind = leaf
    for _ in range(depth):
        kind = pa.list_(pa.struct([("Content", kind)]))
    return kind


@pytest.mark.parametrize(("depth", "leaf"), [(32, pa.string()), (32, pa.list_(pa.float64()))])
def test_the_deepest_column_that_is_written_can_be_read(depth: int, leaf: pa.DataType) -> None:
    table = pa.table({"Content": pa.array([[], None], sequence_of_depth(depth, leaf))})
    assert written(table).read().equals(table)


@pytest.mark.parametrize("depth", [33, 64, 100])
def test_a_deeper_column_is_refused_by_name(depth: int) -> None:
    table = pa.table({"ContentSequence": pa.array([[]], sequence_of_depth(depth, pa.string()))})
    with pytest.raises(ValueError, match="ContentSequence: nested deeper"):
        written(table)
