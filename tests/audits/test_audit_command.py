"""`harvester audit` as a shell sees it: exit status, what is harvested first, comparisons, JUnit and JSON."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from checkout import ROOT
from defusedxml.ElementTree import fromstring
from harvester_program import run
from hostile_cohort import HOSTILE, hostile_dataset
from made_cohort import ct, encoded, write
from recorded_demo import RecordedDemo, recorded_demo

from harvester.audits import BUILT_IN, AuditResult, load_audit, run_audit
from harvester.audits.comparison import compare, read_previous
from harvester.config import load
from harvester.dataset import Dataset
from harvester.engine.crawl import CrawlOptions, crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import ConfigError


@pytest.fixture(scope="module")
def demo() -> Iterator[RecordedDemo]:
    with recorded_demo() as demo:
        yield demo


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """An audit of two CT series, one of which has a plane without a slope."""
    bare = ct(1, 2)
    del bare.RescaleSlope
    objects = {"a/1.dcm": ct(1, 1), "a/2.dcm": bare, "b/1.dcm": ct(2, 1), "b/2.dcm": ct(2, 2)}
    write(tmp_path / "files", {name: encoded(one) for name, one in objects.items()})
    return toml(tmp_path, "[[rules]]\nrule = 'required_attributes'\nattributes = ['RescaleSlope']\n")


def audited(config: Path) -> AuditResult:
    """Harvest and audit, in this process."""
    audit = load_audit(config)
    anyio.run(crawl, audit.crawl, CrawlProgress())
    return run_audit(audit)


def toml(folder: Path, rules: str, name: str = "cohort") -> Path:
    config = folder / f"{name}.toml"
    config.write_text(f"dataset = '{folder}/dataset'\n[select]\nroot = '{folder}/files'\n{rules}")
    return config


def test_broken_rules_give_status_three_and_are_told(cohort: Path) -> None:
    done = run("audit", cohort)
    assert done.status == 3
    assert "missing: RescaleSlope" in done.stdout
    assert "4 instances of 2 series" in done.stdout


def test_a_dataset_that_cannot_be_written_is_audited_all_the_same(cohort: Path) -> None:
    anyio.run(crawl, load_audit(cohort).crawl, CrawlProgress())
    (cohort.parent / "dataset" / "_harvest" / "audits").write_text("no folder")
    done = run("audit", cohort, "--no-crawl")
    assert done.status == 3
    assert "missing: RescaleSlope" in done.stdout
    assert re.search("^the findings are not kept: .*audits", done.stdout, re.MULTILINE)
    done = run("audit", cohort, "--no-crawl", "--json")
    assert json.loads(done.stdout)["findings"] is None
    assert re.fullmatch("the findings are not kept: .*\n", done.stderr)
    result = run_audit(load_audit(cohort))
    assert result.table().num_rows == sum(outcome.findings for outcome in result.outcomes) == 1


def test_a_narrow_terminal_cuts_no_name_and_no_number(cohort: Path) -> None:
    assert "\u2026" not in run("audit", cohort, COLUMNS="40").stdout


def test_the_configuration_says_what_counts(cohort: Path) -> None:
    given = cohort.read_text()
    anyio.run(crawl, load_audit(cohort).crawl, CrawlProgress())
    for fail_on, failed in (("error", True), ("info", True), ("never", False)):
        cohort.write_text(f"{given}\n[audit]\nfail_on = '{fail_on}'\n")
        assert run_audit(load_audit(cohort)).failed is failed


def test_warnings_do_not_count_as_errors(cohort: Path) -> None:
    cohort.write_text(cohort.read_text() + "severity = 'warning'\n")
    result = audited(cohort)
    assert not result.failed
    assert result.outcomes[0].findings == 1


def test_headers_that_are_there_are_not_harvested_again(demo: RecordedDemo, tmp_path: Path) -> None:
    config = demo.toml(tmp_path, select='Modality = "CT"', limits="processes = 1")
    config.write_text(config.read_text() + "\n[[rules]]\nrule = 'complete_series'\n")
    demo.forget()
    assert run("audit", config).status == 0
    assert len(demo.objects) > 20
    demo.forget()
    assert (run("audit", config).status, demo.objects) == (0, [])


def test_objects_are_read_from_the_endpoint_of_the_configuration_alone(
    demo: RecordedDemo, tmp_path: Path
) -> None:
    anyio.run(crawl, load(demo.toml(tmp_path, select='Modality = "US"')), CrawlProgress())
    demo.forget()
    config = tmp_path / "audit.toml"
    text = f"dataset = '{tmp_path}/dataset'\n[[rules]]\nrule = 'dual_personality'\n"
    config.write_text(text)
    (outcome,) = run_audit(load_audit(config)).outcomes
    assert (outcome.skipped or "").startswith("the last crawl read the objects from http://127.0.0.1:")
    assert demo.objects == []
    source = re.search(r"endpoint = .*?\"(?= )", outcome.skipped or "")
    assert source is not None
    config.write_text(f"{text}[source]\n{source.group()}\n")
    (outcome,) = run_audit(load_audit(config)).outcomes
    assert outcome.checked
    assert set(demo.objects)


def test_what_the_catalog_has_and_the_dataset_has_not_is_found(demo: RecordedDemo, tmp_path: Path) -> None:
    config = demo.toml(tmp_path, select='Modality = "MR"')
    rules = "".join(f"\n[[rules]]\nrule = '{one}'\n" for one in ("complete_studies", "missing_series"))
    config.write_text(config.read_text() + rules)
    audit = load_audit(config)
    anyio.run(crawl, audit.crawl, CrawlProgress(), CrawlOptions(limit_series=3))
    told = {outcome.name: outcome for outcome in run_audit(audit).outcomes}
    missing, studies = told["missing_series"], told["complete_studies"]
    assert missing.checked is not None
    assert missing.findings == missing.checked - 3 > 0
    assert studies.findings > 0
    assert " of " in studies.examples[0].problem


def test_only_the_cohort_is_audited_though_the_dataset_holds_more(demo: RecordedDemo, tmp_path: Path) -> None:
    anyio.run(crawl, load(demo.toml(tmp_path, select='Modality = ["CT", "MR"]')), CrawlProgress())
    config = demo.toml(tmp_path, select='Modality = "MR"')
    config.write_text(
        config.read_text() + "\n[[rules]]\nname = 'any'\nsql = 'SELECT Modality FROM instances'\n"
    )
    result = run_audit(load_audit(config))
    (outcome,) = result.outcomes
    assert {one.subject for one in outcome.examples} == {"MR"}
    assert outcome.findings == result.cohort.instances == 27


def test_two_audits_are_compared(cohort: Path) -> None:
    audited(cohort)
    again = run("audit", cohort, "--against", "latest", "--only-new", "--json")
    assert again.status == 0
    assert json.loads(again.stdout)["comparison"]["still"] == 1
    worse = ct(3, 1)
    del worse.RescaleSlope
    write(cohort.parent / "files", {"c/1.dcm": encoded(worse)})
    third = run("audit", cohort, "--against", "latest", "--only-new")
    assert third.status == 3
    (row,) = [
        line.split() for line in third.stdout.splitlines() if line.split()[1:2] == ["required_attributes"]
    ]
    assert row[:8] == ["error", "required_attributes", "2", "5", "40.00%", "1", "0", "1"]


def test_a_finding_that_is_gone_is_told(cohort: Path) -> None:
    previous = read_previous(audited(cohort).findings, "", "")
    cohort.write_text(cohort.read_text().replace("RescaleSlope", "PatientID"))
    comparison = compare(audited(cohort).table(), previous)
    assert (comparison.new, comparison.gone, comparison.still) == (0, 1, 0)
    (change,) = comparison.changes
    assert (change.rule, change.severity, change.examples) == ("required_attributes", "error", ())


def test_junit_has_a_case_for_each_rule_and_no_character_that_xml_forbids(tmp_path: Path) -> None:
    dataset = hostile_dataset(tmp_path)
    config = tmp_path / "again.toml"
    config.write_text(
        f"dataset = '{dataset}'\n[[rules]]\nname = 'odd <name> \x7f'\nrule = 'offset_table'\n"
        "[[rules]]\nname = 'control'\n"
        'sql = "SELECT SeriesInstanceUID, SeriesDescription || chr(1) AS problem '
        'FROM instances"\n[[rules]]\nrule = "unique_instances"\n'.replace("\x7f", "&")
    )
    done = run("audit", config, "--junit", tmp_path / "audit.xml")
    suite = fromstring((tmp_path / "audit.xml").read_text(encoding="utf-8"))
    cases = {case.get("name"): case for case in suite}
    assert done.status == 3
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert cases["control"].find("failure").text.count(HOSTILE) == 5
    assert cases["odd <name> &"].find("system-out") is not None
    assert list(cases["unique_instances"]) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "give a configuration file, or list the rules"),
        (("{config}", "--only-new"), "--only-new needs --against"),
        (("{config}", "--junit", "/nowhere/audit.xml"), "--junit: /nowhere/audit.xml: No such file"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_said(
    cohort: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    done = run("audit", *(one.format(config=cohort) for one in arguments))
    assert done.status == 2
    assert complaint in done.stderr


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("/nowhere", "--against /nowhere: /nowhere cannot be read"),
        ("{config}", "is not a findings file of an audit"),
        ("latest", "has no earlier audit called 'cohort'"),
    ],
)
def test_what_is_no_earlier_audit_is_said(cohort: Path, given: str, complaint: str) -> None:
    dataset = Dataset.create(cohort.parent / "dataset")
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        read_previous(given.format(config=cohort), dataset.location, "cohort")


def test_without_rules_all_built_in_ones_are_checked(cohort: Path) -> None:
    cohort.write_text(cohort.read_text().split("[[rules]]")[0])
    assert [rule.kind for rule in load_audit(cohort).rules] == [rule.kind for rule in BUILT_IN]


def test_the_configuration_on_the_page_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "audits.md").read_text(encoding="utf-8")
    (text,) = [part.split("```")[0] for part in page.split("```toml\n")[1:]]
    write(tmp_path / "files", {"1.dcm": encoded(ct(1, 1))})
    config = tmp_path / "page.toml"
    config.write_text(
        text.replace('"data/idc-sm"', f"'{tmp_path}/dataset'").replace(
            'Modality = "SM"', f"root = '{tmp_path}/files'"
        )
    )
    assert [outcome.name for outcome in audited(config).outcomes] == ["offset_table", "few_planes"]
