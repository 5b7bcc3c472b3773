from datetime import UTC, datetime

from harvester.dataset import FAILURE_COLUMNS
from harvester.dataset.harvest_columns import failure_table
from harvester.model import Failure, Series


def test_a_failure_becomes_a_row_with_its_series() -> None:
    series = Series(
        key="k",
        series_instance_uid="1.2",
        crdc_series_uuid="u",
        collection_id="nlst",
        modality="CT",
        idc_version=21,
    )
    failure = Failure(
        url="s3://b/k",
        reason="truncated",
        message="ends",
        status=206,
        offset=7,
        attempts=3,
        series=series,
        size=9,
    )
    moment = datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
    table = failure_table([failure], harvester_version="1.0", harvested_at=moment)
    assert table.schema == FAILURE_COLUMNS
    assert table.to_pylist() == [
        {
            "instance_url": "s3://b/k",
            "instance_size": 9,
            "reason": "truncated",
            "message": "ends",
            "status": 206,
            "offset": 7,
            "attempts": 3,
            "series_key": series.key,
            "collection_id": "nlst",
            "Modality": "CT",
            "SeriesInstanceUID": "1.2",
            "crdc_series_uuid": "u",
            "idc_version": 21,
            "harvested_at": moment.replace(tzinfo=None),
            "harvester_version": "1.0",
        }
    ]


def test_a_failure_without_a_series_has_nulls() -> None:
    row = failure_table([Failure("u", "r", "m")], harvester_version="1").to_pylist()[0]
    assert (row["collection_id"], row["SeriesInstanceUID"], row["status"], row["attempts"]) == (
        None,
        None,
        None,
        1,
    )


def test_a_hostile_message_is_bounded_and_stored() -> None:
    failure = Failure(url="file:///\udcff", reason="r", message="\ud800" + "x" * 1_000_000)
    row = failure_table([failure], harvester_version="1").to_pylist()[0]
    assert row["instance_url"] == "file:///\\udcff"
    assert len(row["message"]) < 10_000


def test_no_failures_are_an_empty_table_of_the_same_columns() -> None:
    table = failure_table([], harvester_version="1")
    assert (table.num_rows, table.schema) == (0, FAILURE_COLUMNS)
