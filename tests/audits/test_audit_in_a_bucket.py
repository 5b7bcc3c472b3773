"""An audit, a report and an index table of a dataset that lies in a bucket."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bucket_servers import Bucket
from harvester_program import Ended, run
from made_cohort import ct, encoded, write

from harvester.audits.comparison import read_previous
from harvester.errors import UserError

PROBLEMS = ["missing: RescaleSlope"]


@pytest.fixture
def cohort(writable_bucket: Bucket, tmp_path: Path) -> Path:
    """An audit of two planes of a CT series, one without a slope."""
    bare = ct(1, 2)
    del bare.RescaleSlope
    write(tmp_path / "files", {"a/1.dcm": encoded(ct(1, 1)), "a/2.dcm": encoded(bare)})
    config = tmp_path / "two planes.toml"
    config.write_text(
        f"dataset = '{writable_bucket.place('audited/cohort')}'\n[select]\nroot = '{tmp_path}/files'\n"
        "[[rules]]\nrule = 'required_attributes'\nattributes = ['RescaleSlope']\n"
    )
    return config


def told(result: Ended) -> dict[str, object]:
    assert result.status == 3, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("writable_bucket", ["s3", pytest.param("gs", marks=pytest.mark.slow)], indirect=True)
def test_a_dataset_in_a_bucket_is_audited_reported_and_indexed(
    writable_bucket: Bucket, cohort: Path, tmp_path: Path
) -> None:
    place = writable_bucket.place("audited/cohort")
    first = told(run("audit", cohort, "--json"))
    folder = f"{writable_bucket.scheme}://{writable_bucket.name}/audited/cohort"
    findings = str(first["findings"])
    assert findings.startswith(f"{folder}/_harvest/audits/")
    endpoint = place.partition("?")[2]
    assert findings.endswith(f"Z-two_planes/findings.parquet?{endpoint}")

    again = run("audit", cohort, "--no-crawl", "--against", findings, "--only-new", "--json")
    assert again.status == 0, again.stderr
    comparison = json.loads(again.stdout)["comparison"]
    assert (comparison["new"], comparison["gone"], comparison["still"]) == (0, 0, 1)
    for against in ("latest", findings.replace("/findings.parquet", "")):
        assert read_previous(against, place, cohort.stem).findings["problem"].to_pylist() == PROBLEMS
    with pytest.raises(UserError, match="elsewhere"):
        read_previous(f"{folder}/elsewhere?{endpoint}", place, cohort.stem)

    page = tmp_path / "report.html"
    assert run("report", "-d", place, "-o", page).status == 0
    text = page.read_text()
    assert "<title>cohort" in text
    assert PROBLEMS[0] in text
    assert writable_bucket.endpoint not in text

    made = run("index", "ct_index", "-d", place, "-o", tmp_path / "ct_index.parquet")
    assert made.status == 0, made.stderr
    assert pq.read_metadata(tmp_path / "ct_index.parquet").num_rows == 1
