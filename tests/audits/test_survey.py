"""The scan that rules share: what it counts, and which folders are left to be read."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hex_names import hex_name

from harvester.audits.rules.base import AuditDatabase
from harvester.audits.rules.values import RequiredAttributes, ValueRanges
from harvester.audits.survey import Check, Survey, survey
from harvester.dataset import Dataset, Partition
from harvester.query import open_dataset, run_query

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
TOO_HIGH = Check("true", "KVP > 500")
FOLDERS = [
    (Partition("o'clock", "CT"), CT, [120.0, 700.0]),
    (Partition("lung", "CT"), CT, [120.0, 100.0]),
    (Partition("lung", "MR"), MR, [None, 900.0]),
    (Partition(None, None), "2.25.1", [800.0]),
]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    dataset = Dataset.create(tmp_path_factory.mktemp("survey") / "dataset")
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("shard"))
    for number, (partition, sop_class, voltages) in enumerate(FOLDERS):
        rows = [
            {
                "SOPInstanceUID": f"{number}.{n}",
                "SeriesInstanceUID": str(number),
                "SOPClassUID": sop_class,
                "KVP": voltage,
            }
            for n, voltage in enumerate(voltages)
        ]
        writer.write_instances(pa.Table.from_pylist(rows), partition)
    writer.commit(["1"], requests=1, bytes_fetched=1, seconds=1, versions={})
    with closing(open_dataset(dataset.location)) as connection:
        yield connection


def subjects(connection: duckdb.DuckDBPyConnection, condition: str | None) -> list[str]:
    sql = f"SELECT DISTINCT SeriesInstanceUID FROM instances WHERE {condition} ORDER BY ALL"
    return [
        row["SeriesInstanceUID"]
        for batch in run_query(connection, sql).batches()
        for row in batch.to_pylist()
    ]


def test_places_are_the_folders_with_violations(connection: duckdb.DuckDBPyConnection) -> None:
    assert subjects(connection, survey(connection, [TOO_HIGH]).places(TOO_HIGH)) == ["0", "2", "3"]


def test_a_check_without_violations_has_no_places(connection: duckdb.DuckDBPyConnection) -> None:
    negative = Check("true", "KVP < 0")
    assert survey(connection, [TOO_HIGH, negative]).places(negative) is None


def test_a_violation_counts_within_the_scope_only(connection: duckdb.DuckDBPyConnection) -> None:
    of_mr = Check("Modality = 'MR'", "KVP > 500")
    found = survey(connection, [of_mr, TOO_HIGH])
    assert subjects(connection, found.places(of_mr)) == ["2"]
    assert found.checked == {"Modality = 'MR'": 2, "true": 7}


def test_an_attribute_that_the_dataset_lacks_violates_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    thick = Check("true", "SliceThickness > 200")
    assert survey(connection, [thick]).places(thick) is None


def test_what_is_not_surveyed_can_be_anywhere(connection: duckdb.DuckDBPyConnection) -> None:
    assert Survey().places(TOO_HIGH) == "true"
    checks = [Check("true", f"KVP > {500 + number}") for number in range(70)]
    found = survey(connection, checks)
    assert found.places(checks[0]) != "true"
    assert found.places(checks[-1]) == "true"


def test_sop_classes_are_counted_by_modality(connection: duckdb.DuckDBPyConnection) -> None:
    assert survey(connection, [], {CT, MR}).classes == {"CT": {CT: 4}, "MR": {MR: 2}}


@pytest.mark.parametrize("surveyed", [True, False])
def test_a_rule_finds_the_same_without_the_survey(
    connection: duckdb.DuckDBPyConnection, *, surveyed: bool
) -> None:
    rule = ValueRanges()
    check = rule.check()
    assert check is not None
    database = AuditDatabase(connection, "1GB", survey(connection, [check]) if surveyed else Survey())
    found: list[dict[str, Any]] = [row for batch in rule.batches(database) for row in batch.to_pylist()]
    assert [(row["subject"], row["problem"]) for row in found] == [
        ("0", "KVP = 700.0"),
        ("2", "KVP = 900.0"),
        ("3", "KVP = 800.0"),
    ]


def test_required_attributes_go_by_the_sop_classes_of_each_modality(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    def found(classes: dict[str | None, dict[str, int]]) -> list[tuple[str, str]]:
        database = AuditDatabase(connection, "1GB", Survey(classes))
        rows = (row for batch in RequiredAttributes().batches(database) for row in batch.to_pylist())
        return [(row["subject"], row["problem"]) for row in rows]

    each = found({"CT": {CT: 4}, "MR": {MR: 2}})
    assert [subject for subject, _ in each] == ["0", "1", "2"]
    assert "RescaleSlope" in each[0][1]
    assert "RescaleSlope" not in each[2][1]
    assert "ScanningSequence" in each[2][1]
    # What is frequent is read by itself.
    assert found({"CT": {CT: 1_000_000}, "MR": {MR: 2}}) == each
    assert found({"CT": {CT: 1_000_000}, "MR": {MR: 1_000_000}, "PT": {CT: 1}}) == each
