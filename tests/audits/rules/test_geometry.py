"""The quick look at a series' planes against IDC's own query: they find the same series, bounds included."""

import math
import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hex_names import hex_name

from harvester.audits.rules.geometry import RegularVolume
from harvester.audits.shared_values import SHARED, all_alike
from harvester.dataset import Dataset, Partition
from harvester.query import attributes_in, build_index, create_table, open_dataset, run_query

CT = "1.2.840.10008.5.1.4.1.1.2"
Row = dict[str, Any]


def planes(name: str, count: int, *, step: float = 2.5, tilt: float = 0.0) -> list[Row]:
    """An even stack, turned about its rows."""
    cosine, sine = math.cos(tilt), math.sin(tilt)
    return [
        {
            "SOPInstanceUID": f"{name}.{n}",
            "SeriesInstanceUID": name,
            "SOPClassUID": CT,
            "ImagePositionPatient": [-100.0, -100.0 - n * step * sine, n * step * cosine],
            "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, cosine, sine],
            "PixelSpacing": [0.5, 0.5],
            "Rows": 512,
            "Columns": 512,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        }
        for n in range(count)
    ]


def series() -> Iterator[list[Row]]:
    """Even stacks, and stacks that are uneven in each way, by more and by less than the bounds."""
    chance = random.Random(4711)  # no secret
    for number in range(24):
        yield planes(
            f"1.{number}", chance.randrange(2, 30), step=chance.choice([0.7, 2.5, -3.0]), tilt=chance.random()
        )
    for number, jitter in enumerate([0.5, 0.026, 0.0251, 0.025, 0.0249, 0.024, 1e-9, 0.0]):
        stack = planes(f"2.{number}", 12)
        stack[5]["ImagePositionPatient"][2] += jitter  # of 2.5 mm, the hundredth is 0.025
        yield stack
    for axis in (0, 1):
        for number, shift in enumerate([0.2, 0.1001, 0.1, 0.0999, 0.05]):
            stack = planes(f"3.{axis}.{number}", 9)
            stack[3]["ImagePositionPatient"][axis] += shift
            yield stack
    for number, length in enumerate([0.98, 0.99, 0.9901, 1.01, 1.02]):
        yield [
            {**one, "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, length, 0.0]}
            for one in planes(f"4.{number}", 6)
        ]
    changes: dict[str, Any] = {
        "Rows": 256,
        "PixelSpacing": [0.5, 0.6],
        "ImageOrientationPatient": [0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "ImagePositionPatient": None,
        "SOPInstanceUID": "5.same",
        "ImageType": ["DERIVED", "PRIMARY", "LOCALIZER"],
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
    }
    for name, value in changes.items():
        stack = planes(f"6.{name}", 8)
        for one in stack[2:4] if name == "SOPInstanceUID" else stack[2:3]:
            one[name] = value
        yield stack
    yield [{**one, "ImageType": ["DERIVED", "MIP"]} for one in planes("7.projection", 5)]
    yield [
        *planes("8.twice", 5),
        *({**one, "SOPInstanceUID": f"{n}.x"} for n, one in enumerate(planes("8.twice", 5))),
    ]
    yield [{**one, "ImagePositionPatient": [0.0, 0.0, 0.0]} for one in planes("9.flat", 4)]
    yield planes("10.alone", 1)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    dataset = Dataset.create(tmp_path_factory.mktemp("planes") / "dataset")
    rows = [one for stack in series() for one in stack]
    random.Random(1).shuffle(rows)
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("shard"))
    writer.write_instances(pa.Table.from_pylist(rows), Partition("made", "CT"))
    writer.commit(["1"], requests=1, bytes_fetched=1, seconds=1, versions={})
    with closing(open_dataset(dataset.location)) as connection:
        sql = all_alike([RegularVolume().shared_values()])
        create_table(connection, SHARED, sql, attributes_in(sql))
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    return [row for batch in run_query(connection, sql).batches() for row in batch.to_pylist()]


def by_idc(connection: duckdb.DuckDBPyConnection) -> dict[str, Row]:
    table = build_index(connection, "volume_geometry_index")
    return {row["SeriesInstanceUID"]: row for batch in table.batches() for row in batch.to_pylist()}


def test_the_rule_finds_what_idc_s_definition_rejects(connection: duckdb.DuckDBPyConnection) -> None:
    told = by_idc(connection)
    rejected = {uid for uid, row in told.items() if row["regularly_spaced_3d_volume"] is not True}
    found = {row["subject"] for row in rows(connection, RegularVolume().query())}
    assert found == rejected
    assert 10 < len(found) < len(told) - 20  # both kinds are there


def test_it_says_which_checks_failed(connection: duckdb.DuckDBPyConnection) -> None:
    told = {row["subject"]: row["problem"] for row in rows(connection, RegularVolume().query())}
    assert told["6.Rows"] == "several image sizes"
    assert told["6.PixelSpacing"] == "several pixel spacings"
    assert told["2.0"] == "planes not equally far apart"
    assert told["3.0.0"] == "planes shifted along the rows"
    assert told["4.0"].startswith("rows and columns are not orthogonal")
    assert told["10.alone"] == "fewer than two planes with a position"


def test_localizers_and_projections_are_not_counted(connection: duckdb.DuckDBPyConnection) -> None:
    ((checked,),) = (row.values() for row in rows(connection, str(RegularVolume().checked())))
    assert checked == len(by_idc(connection))


def test_it_can_be_narrowed(connection: duckdb.DuckDBPyConnection) -> None:
    only = RegularVolume.model_validate({"where": "SeriesInstanceUID LIKE '3.%'"})
    found = {row["subject"] for row in rows(connection, only.query())}
    assert found
    assert all(uid.startswith("3.") for uid in found)
