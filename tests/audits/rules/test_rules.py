"""Each rule: the objects that break it are found, and no others; one audit of one small dataset tells all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pyarrow.parquet as pq
import pytest
from made_cohort import (
    ct,
    encoded,
    private,
    segmentation,
    slide,
    uid,
    with_directory,
    write,
)
from made_plan import make_plan
from pydicom.dataset import Dataset as Elements

from harvester.audits import AuditResult, load_audit, run_audit
from harvester.dataset import Dataset
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.model import ObjectRef, Series

# What breaks each rule, by the rule's name in the audit below: the number of a series of its own.
BAD = {
    "required_attributes": 10,
    "allowed_values": 11,
    "value_ranges": 12,
    "valid_values": 13,
    "plausible_dates": 14,
    "consistent_series": 15,
    "regular_volume": 16,
    "offset_table": 17,
    "transfer_syntax": 18,
    "dual_personality": 19,
    "referenced_instances": 20,
    "private_elements": 21,
    "left_name": 22,
    "left_birth": 23,
    "left_date": 24,
    "left_text": 25,
    "unique_instances": 26,
    "own": 27,
}
GOOD_SLIDE, GOOD_TWO_FACED, GOOD_SEGMENTATION = 2, 3, 4
AUDIT = """
[audit]
every_rule = true
examples = 20
[[rules]]
rule = "plausible_dates"
where = "StudyDescription IS DISTINCT FROM 'elsewhere'"
[[rules]]
rule = "private_elements"
allowed_creators = ["ACME 1.1"]
[[rules]]
rule = "regular_volume"
Modality = "CT"
[[rules]]
rule = "required_attributes"
SOPClassUID = "CTImageStorage"
[[rules]]
name = "own"
severity = "info"
sql = '''SELECT SeriesInstanceUID, BodyPartExamined, 'body part' AS problem
         FROM instances WHERE BodyPartExamined = 'NOSE' '''
[[rules]]
rule = "offset_table"
[[rules]]
name = "offset_table_or_tiff"
rule = "offset_table"
accept = ["basic", "tiff"]
"""


def series_of_two(number: int, **changes: Any) -> list[Elements]:
    return [ct(number, 1), ct(number, 2, **changes)]


def bad_objects() -> dict[str, list[Elements]]:
    invalid = ct(BAD["valid_values"], 1)
    invalid.add_new(0x00180050, "LO", "thick")  # SliceThickness, as text
    without_rows = ct(BAD["required_attributes"], 2)
    del without_rows.RescaleSlope
    uneven = [ct(BAD["regular_volume"], n, ImagePositionPatient=[0, 0, n * n]) for n in (1, 2, 3)]
    twice = uid(26, 1)
    dated = {"LongitudinalTemporalInformationModified": "REMOVED"}
    return {
        "required": [ct(BAD["required_attributes"], 1), without_rows],
        "allowed": series_of_two(BAD["allowed_values"], PatientSex="W"),
        "ranges": series_of_two(BAD["value_ranges"], KVP=0),
        "valid": [invalid, ct(BAD["valid_values"], 2)],
        "dates": series_of_two(BAD["plausible_dates"], StudyDate="29990101"),
        "consistent": series_of_two(BAD["consistent_series"], PatientID="another"),
        "volume": uneven,
        "table": [slide(BAD["offset_table"], table=False)],
        "syntax": series_of_two(BAD["transfer_syntax"]),
        "references": [segmentation(BAD["referenced_instances"], uid(1), uid(1, 1), uid(1, 99))],
        "private": [ct(21, 1), private(ct(21, 2), "OTHER")],
        "name": series_of_two(22, ReferringPhysicianName="Roe^Richard"),
        "birth": series_of_two(23, PatientBirthDate="19500101"),
        "removed": [ct(24, 1, **dated), ct(24, 2, **dated)],
        "text": series_of_two(25, StudyDescription="follow-up of 12/03/2019"),
        "twice": [ct(26, 1), ct(26, 2, SOPInstanceUID=twice, ImagePositionPatient=[0, 0, 5])],
        "own": series_of_two(27, BodyPartExamined="NOSE"),
    }


def good_objects() -> dict[str, list[Elements]]:
    return {
        "good": [ct(1, 1), private(ct(1, 2), "ACME 1.1"), ct(1, 3)],
        "slide": [slide(GOOD_SLIDE)],
        "segmentation": [segmentation(GOOD_SEGMENTATION, uid(1), uid(1, 1), uid(1, 3))],
        "old": [ct(5, n, StudyDate="19010101", StudyDescription="elsewhere") for n in (1, 2)],
        "localizer": [ct(6, 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])],
    }


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    folder = tmp_path_factory.mktemp("cohort")
    objects = {
        f"{name}/{number}.dcm": encoded(one, "1.2.3.4" if name == "syntax" else None)
        for name, some in (bad_objects() | good_objects()).items()
        for number, one in enumerate(some)
    }
    for name, width, number in (("faces", 4, GOOD_TWO_FACED), ("other_face", 5, BAD["dual_personality"])):
        objects[f"{name}/1.dcm"] = with_directory(encoded(slide(number)), width)
    objects["broken/1.dcm"] = objects["good/1.dcm"][:300]
    write(folder / "files", objects)
    config = folder / "audit.toml"
    config.write_text(f"dataset = '{folder}/dataset'\n[select]\nroot = '{folder}/files'\n{AUDIT}")
    audit = load_audit(config)
    anyio.run(crawl, audit.crawl, CrawlProgress())
    plan_more(Dataset.open(folder / "dataset"))
    # As a dataset that is there: what there should be is then what its plans say.
    return run_audit(replace(audit, selects=False))


def plan_more(dataset: Dataset) -> None:
    """Say what there should be of three series: more than there is, as much, and one that is not there."""
    series = [
        Series(
            key=f"planned {number}",
            prefixes=(ObjectRef("bucket", f"{number}/"),),
            series_instance_uid=uid(number),
            collection_id="made",
            modality="CT",
            instance_count=count,
        )
        for number, count in ((1, 3), (10, 5), (99, 7))
    ]
    dataset.save_plan(make_plan(series))


def findings(result: AuditResult, rule: str) -> list[dict[str, Any]]:
    return [row for row in result.table().to_pylist() if row["rule"] == rule]


def subjects(result: AuditResult, rule: str) -> set[str]:
    return {row["subject"] for row in findings(result, rule)}


@pytest.mark.parametrize(
    "rule",
    [
        "required_attributes",
        "allowed_values",
        "value_ranges",
        "valid_values",
        "plausible_dates",
        "consistent_series",
        "regular_volume",
        "transfer_syntax",
        "private_elements",
        "own",
    ],
)
def test_a_rule_finds_the_one_series_that_breaks_it(audited: AuditResult, rule: str) -> None:
    alone = {uid(BAD["unique_instances"])} if rule == "regular_volume" else set()
    assert subjects(audited, rule) == {uid(BAD[rule])} | alone


def problems(result: AuditResult, rule: str) -> list[str]:
    return [row["problem"] for row in findings(result, rule)]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("required_attributes", ["missing: RescaleSlope"]),
        ("allowed_values", ["PatientSex = W"]),
        ("value_ranges", ["KVP = 0.0"]),
        ("valid_values", ["invalid: SliceThickness"]),
        ("plausible_dates", ["StudyDate 2999-01-01 is in the future"]),
        ("consistent_series", ["PatientID: P15, another"]),
        ("offset_table", ["no offset table"]),
        ("transfer_syntax", ["1.2.3.4"]),
        ("dual_personality", ["width: TIFF 5, DICOM 4"]),
        ("private_elements", ["private elements of OTHER"]),
        ("unique_instances", ["occurs 2 times"]),
        ("complete_series", ["2 of 5 instances"]),
        ("missing_series", ["no instance is there"]),
        ("own", ["body part"]),
    ],
)
def test_a_finding_says_what_is_wrong(audited: AuditResult, rule: str, told: list[str]) -> None:
    assert problems(audited, rule) == told


def test_a_missing_attribute_does_not_conform_to_the_iod(audited: AuditResult) -> None:
    found = [row for row in findings(audited, "conformance") if "RescaleSlope" in row["problem"]]
    assert [(row["subject"], row["problem"], row["instances"]) for row in found] == [
        (uid(BAD["required_attributes"]), "missing: RescaleSlope (Type 1, ct-image)", 1)
    ]


def test_slides_without_a_table_are_found_and_those_with_one_are_not(audited: AuditResult) -> None:
    assert subjects(audited, "offset_table") == {uid(17)}
    assert subjects(audited, "offset_table_or_tiff") == {uid(17)}
    (outcome,) = [one for one in audited.outcomes if one.name == "offset_table"]
    assert (outcome.violations, outcome.checked) == (1, 4)


def test_two_faces_that_disagree_are_found_by_reading_their_directories(audited: AuditResult) -> None:
    (found,) = findings(audited, "dual_personality")
    assert found["SeriesInstanceUID"] == uid(BAD["dual_personality"])
    assert found["instance_url"].endswith("other_face/1.dcm")


def test_a_reference_to_what_is_not_there_is_found(audited: AuditResult) -> None:
    (found,) = findings(audited, "referenced_instances")
    assert found["SeriesInstanceUID"] == uid(BAD["referenced_instances"])
    assert f'"missing":1,"missing_series":"{uid(1)}","missing_instance":"{uid(1, 99)}"' in found["shown"]


def test_leftovers_are_named_and_never_repeated(audited: AuditResult) -> None:
    found = {row["subject"]: row["problem"] for row in findings(audited, "deidentification_leftovers")}
    assert found == {
        uid(22): "left over: ReferringPhysicianName",
        uid(23): "left over: PatientBirthDate",
        uid(24): "left over: StudyDate",
        uid(25): "left over: StudyDescription",
    }
    assert "Roe" not in str(audited.table().to_pylist())


def test_an_instance_that_is_there_twice_is_found_by_its_uid(audited: AuditResult) -> None:
    assert subjects(audited, "unique_instances") == {uid(26, 1)}


def test_series_are_held_against_what_was_planned(audited: AuditResult) -> None:
    assert subjects(audited, "complete_series") == {uid(10)}
    assert subjects(audited, "missing_series") == {uid(99)}
    (outcome,) = [one for one in audited.outcomes if one.name == "missing_series"]
    assert (outcome.violations, outcome.checked) == (1, 3)


def test_what_could_not_be_harvested_is_found(audited: AuditResult) -> None:
    (found,) = findings(audited, "failures")
    assert found["instance_url"].endswith("broken/1.dcm")
    assert found["problem"].startswith("truncated: ")


def test_a_share_is_of_what_the_rule_looks_at(audited: AuditResult) -> None:
    (outcome,) = [one for one in audited.outcomes if one.name == "regular_volume"]
    # Sixteen series of CT planes; the localizer is none, and neither are slides and segmentations.
    assert outcome.checked == len([*bad_objects(), "good", "old"]) - len(["table", "references"])
    assert outcome.share == outcome.violations / outcome.checked


def test_findings_are_a_table_beside_the_dataset(audited: AuditResult) -> None:
    table = pq.read_table(audited.findings)
    assert str(Path(audited.findings)).startswith(f"{audited.dataset}/_harvest/audits/")
    assert table.num_rows == sum(outcome.findings for outcome in audited.outcomes)
    assert audited.failed


def test_every_rule_is_checked_here(audited: AuditResult) -> None:
    unchecked = {outcome.name: outcome.skipped for outcome in audited.outcomes if outcome.skipped}
    silent = {outcome.kind for outcome in audited.outcomes if not outcome.findings}
    # The series that were planned have no study here.
    assert list(unchecked) == ["complete_studies"]
    assert silent == {"complete_studies"}  # test_completeness has a catalog with studies
