import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from checkout import ROOT
from made_plan import make_plan

from harvester.catalog import open_catalog
from harvester.config import load
from harvester.dataset import INSTANCE_COLUMNS, Dataset
from harvester.dicom.dictionary import attributes_by_keyword
from harvester.dicom.schema import column_type
from harvester.query import open_dataset

PROGRAM = ROOT / "scripts" / "benchmarks" / "made_dataset.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    target = tmp_path_factory.mktemp("made") / "idc"
    size = ["--instances", "600", "--collections", "9", "--processes", "1"]
    command = [sys.executable, str(PROGRAM), str(target), *size]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_every_modality_of_its_collections_has_a_partition(made):
    with open_dataset(made) as connection:
        question = "SELECT DISTINCT collection_id, Modality FROM {} ORDER BY ALL"
        there = connection.execute(question.format("instances")).fetchall()
        some = "idc_index WHERE collection_id IN (SELECT collection_id FROM instances)"
        wanted = connection.execute(question.format(some)).fetchall()
        (twice,) = connection.execute(
            "SELECT count(*) - count(DISTINCT SOPInstanceUID) FROM instances"
        ).fetchone()
    assert there == wanted
    assert len({collection for collection, _ in there}) == 9
    assert twice == 0


def test_the_dataset_is_that_of_a_crawl_which_has_nothing_left_to_do(made):
    config = load(made.with_suffix(".toml"))
    with open_catalog(config) as catalog:
        plan = make_plan(catalog.series(), config.limits)
    dataset = Dataset.open(made)
    assert tuple(dataset.load_plan(plan.name).shards) == plan.shards
    commits = list(dataset.commits())
    assert {commit.shard for commit in commits} == {shard.name for shard in plan.shards}
    counted = {key: sum(counts) for commit in commits for key, counts in commit.counts.items()}
    assert counted == {one.key: one.instance_count for shard in plan.shards for one in shard.series}


def test_columns_have_the_types_of_the_contract(made):
    known = {field.name: field.type for field in INSTANCE_COLUMNS}
    for part in made.glob("instances/*/*/*.parquet"):
        schema = pq.read_schema(part)
        assert known.keys() <= set(schema.names)
        for field in schema:
            attribute = attributes_by_keyword().get(field.name.lower())
            expected = known.get(field.name) or column_type(attribute)
            assert expected is None or field.type == expected, f"{part}: {field}"
