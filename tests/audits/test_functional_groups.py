"""A dataset of multi-frame objects alone, whose spacing and references are only in functional groups."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import harvester
from harvester.audits import BUILT_IN
from harvester.query import build_index, open_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("segmentation")
    (folder / "dicom").mkdir()
    (folder / "dicom/one.dcm").symlink_to(str(get_testdata_file("liver_1frame.dcm")))
    harvester.crawl(dataset=folder / "dataset", root=folder / "dicom", progress=False)
    with open_dataset(str(folder / "dataset")) as connection:
        assert "PixelSpacing" not in {
            name for name, *_ in connection.execute("DESCRIBE instances").fetchall()
        }
    return folder / "dataset"


def test_every_rule_runs(dataset: Path) -> None:
    rules = [{"rule": rule.kind} for rule in BUILT_IN if rule.kind != "conformance"]  # has tests of its own
    outcomes = harvester.audit(dataset=dataset, rules=rules).result.outcomes
    checked = {outcome.name: outcome.checked for outcome in outcomes}
    assert checked["value_ranges"] == checked["referenced_instances"] == 1


def test_the_report_has_its_distributions(dataset: Path, tmp_path: Path) -> None:
    harvester.report(dataset, tmp_path / "report.html")
    assert "TransferSyntaxUID" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", ["sm_index", "seg_index"])
def test_index_tables_can_be_made(dataset: Path, name: str) -> None:
    with open_dataset(str(dataset)) as connection:
        rows = sum(batch.num_rows for batch in build_index(connection, name).batches())
    assert rows == (1 if name == "seg_index" else 0)
