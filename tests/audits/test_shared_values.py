"""The table that rules share: which instances of a series are one row of it."""

from contextlib import closing
from pathlib import Path

import pyarrow as pa
from hex_names import hex_name

from harvester.audits.shared_values import SHARED, all_alike
from harvester.dataset import Dataset, Partition
from harvester.query import attributes_in, create_table, open_dataset, run_query

INSTANCES = [
    ("1.1", "1", "1.10", "head"),
    ("1.2", "1", "1.10", "head"),
    ("1.3", "1", "1.10", None),
    ("2.1", "1", None, "head"),
    ("2.2", "1", None, "head"),
    ("3.1", None, "3.10", "head"),
    ("3.2", None, "3.10", "head"),
]


def test_instances_of_a_series_that_share_values_are_one_row(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "dataset")
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("shard"))
    rows = [
        {
            "instance_url": f"s3://bucket/{instance}",
            "instance_size": 10,
            "SOPInstanceUID": instance,
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "StudyDescription": description,
        }
        for instance, study, series, description in INSTANCES
    ]
    writer.write_instances(pa.Table.from_pylist(rows), Partition("made", "CT"))
    writer.commit(["1"], requests=1, bytes_fetched=1, seconds=1, versions={})
    values = {"StudyDescription": '"StudyDescription"', "long": "len(StudyDescription) > 10"}
    sql = all_alike([values, {"KVP": '"KVP"'}])  # the dataset has no KVP
    with closing(open_dataset(dataset.location)) as connection:
        create_table(connection, SHARED, sql, attributes_in(sql))
        found = [
            tuple(row.values())
            for batch in run_query(
                connection,
                f"""SELECT instance_url[13:], alike, size::BIGINT, StudyDescription, long, KVP, collection_id
                    FROM {SHARED} ORDER BY ALL""",
            ).batches()
            for row in batch.to_pylist()
        ]
    assert found == [
        ("1.1", 2, 20, "head", False, None, "made"),
        ("1.3", 1, 10, None, None, None, "made"),
        ("2.1", 1, 10, "head", False, None, "made"),
        ("2.2", 1, 10, "head", False, None, "made"),
        ("3.1", 1, 10, "head", False, None, "made"),
        ("3.2", 1, 10, "head", False, None, "made"),
    ]
