"""What becomes of a rule: tolerated, a warning, violated, or not checked; and what its findings say."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import anyio
import duckdb
import pytest
from defusedxml.ElementTree import fromstring
from recorded_demo import RecordedDemo, recorded_demo

from harvester.audits import AuditResult, RuleOutcome, load_audit, run_audit
from harvester.audits.output import as_json, as_junit, json_bytes
from harvester.audits.report import gather, render
from harvester.cli.audit import command
from harvester.config import load
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import ConfigError

Audit = Callable[[str], AuditResult]
CT_COUNT = "SELECT count(*) FROM instances WHERE Modality = 'CT'"
TWO = """
sql = "SELECT SOPInstanceUID FROM instances WHERE Modality = 'CT' ORDER BY 1 LIMIT 2"
"""


@pytest.fixture(scope="module")
def demo() -> Iterator[RecordedDemo]:
    with recorded_demo() as demo:
        yield demo


@pytest.fixture(scope="module")
def dataset(demo: RecordedDemo, tmp_path_factory: pytest.TempPathFactory) -> str:
    config = load(demo.toml(tmp_path_factory.mktemp("outcomes"), select='Modality = ["CT", "SEG"]'))
    anyio.run(crawl, config, CrawlProgress())
    return config.dataset


@pytest.fixture
def config(dataset: str, tmp_path: Path) -> Callable[[str], Path]:
    def write(rules: str) -> Path:
        path = tmp_path / "audit.toml"
        path.write_text(f"dataset = '{dataset}'\n{rules}")
        return path

    return write


@pytest.fixture
def audit(config: Callable[[str], Path]) -> Audit:
    return lambda rules: run_audit(load_audit(config(rules)))


def several(rule: str, variants: Iterable[str]) -> str:
    """The same rule several times, under names of their own."""
    return "".join(
        f"[[rules]]\nname = 'variant {n}'\n{rule}\n{variant}\n" for n, variant in enumerate(variants)
    )


def only(result: AuditResult) -> RuleOutcome:
    (outcome,) = result.outcomes
    return outcome


def test_violations_up_to_a_threshold_are_tolerated(audit: Audit) -> None:
    tolerated = {
        "at_most = 2": None,
        "at_most = 5\nwarn_at = 2": "warning",
        "at_most = 5\nwarn_at = 3": None,
        f'of = "{CT_COUNT}"\nat_most = "50%"': None,
        f'of = "{CT_COUNT}"\nat_most = "50%"\nwarn_at = "1%"': "warning",
    }
    result = audit(several(TWO, tolerated))
    assert [(one.violations, one.level) for one in result.outcomes] == [
        (2, one) for one in tolerated.values()
    ]
    assert not result.failed
    not_tolerated = ("", "at_most = 1", f'of = "{CT_COUNT}"\nat_most = "1%"')
    result = audit(several(TWO, not_tolerated))
    assert [(one.violations, one.level) for one in result.outcomes] == [(2, "error")] * 3
    assert result.failed


def test_a_built_in_rule_has_a_threshold_of_its_own_unit(audit: Audit) -> None:
    rule = "rule = 'required_attributes'\nattributes = ['ReferringPhysicianName']\nModality = 'CT'"
    limits = ("", "at_most = '99.9%'", "at_most = '100%'")
    violated, most, all_of_them = audit(several(rule, limits)).outcomes
    assert violated.violations == violated.checked
    assert [one.level for one in (violated, most, all_of_them)] == ["error", "error", None]


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("rule = 'failures'\nat_most = 'few'", "expected a count such as 5 or a share"),
        ("rule = 'failures'\nat_most = '101%'", "expected a count such as 5 or a share"),
        ("rule = 'failures'\nat_most = -1", "expected a count such as 5 or a share"),
        ("rule = 'failures'\nwarn_at = 1", "(failures): warn_at: needs at_most and severity = 'error'"),
        ("name = 'own'\nsql = 'SELECT 1'\nat_most = '1%'", "a share needs `of`"),
    ],
)
def test_a_threshold_that_means_nothing_is_an_error(
    config: Callable[[str], Path], rule: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load_audit(config(f"[[rules]]\n{rule}\n"))


@pytest.mark.parametrize(
    ("selection", "complaint"),
    [
        ("Modality = 'CTT'", "Modality 'CTT' occurs nowhere in the cohort; did you mean CT"),
        ("collection_id = ['demo_ct', 'nowhere']", "collection_id 'nowhere' occurs nowhere in the cohort"),
        ("SOPClassUID = '1.2.840.10008.5.1.4.1.1.3'", "did you mean 1.2.840.10008.5.1.4.1.1.2"),
    ],
)
def test_a_selection_that_occurs_nowhere_is_an_error(
    audit: Audit, dataset: str, selection: str, complaint: str
) -> None:
    known = sorted(path.name.partition("=")[2] for path in Path(dataset, "instances").iterdir())
    selection = selection.replace("demo_ct", known[0])
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        audit(f"[[rules]]\nrule = 'offset_table'\n{selection}\n")


def test_a_rule_that_checked_nothing_is_skipped(audit: Audit) -> None:
    result = audit(
        "[[rules]]\nrule = 'valid_values'\nModality = 'CT'\nwhere = 'NumberOfFrames > 100000'\n"
        "[[rules]]\nname = 'own'\nsql = 'SELECT 1 WHERE false'\nof = 'SELECT 0'\n"
    )
    nothing = "checked nothing: there are no"
    told = [outcome.skipped for outcome in result.outcomes]
    assert told == [
        f"{nothing} instances that it applies to (Modality CT; where NumberOfFrames > 100000)",
        f"{nothing} rows that it applies to",
    ]
    suite = fromstring(as_junit(result))
    assert (suite.get("skipped"), suite.get("failures")) == ("2", "0")
    assert [case.find("skipped").get("message") for case in suite] == told


def test_a_description_is_what_a_reader_is_shown(
    config: Callable[[str], Path], dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Two planes of each study are kept for the regression test."
    path = config(f"[[rules]]\nname = 'two'\n{TWO}description = '{text}'\n")
    result = run_audit(load_audit(path))
    result.keep(json_bytes(as_json(result)))
    assert text in as_junit(result)
    assert text in render(gather(dataset))
    assert command(path) == 3
    assert text in " ".join(capsys.readouterr().out.split())


def test_findings_of_a_query_have_the_place_of_their_subject(audit: Audit) -> None:
    place = ("SeriesInstanceUID", "collection_id", "Modality", "instance_url")
    filled = {
        "SOPInstanceUID": place,
        "instance_url": place,
        "DISTINCT SeriesInstanceUID": place,
        "DISTINCT StudyInstanceUID": ("collection_id", "instance_url"),
    }
    rules = [f"sql = \"SELECT {columns} FROM instances WHERE Modality = 'SEG'\"" for columns in filled]
    rows = audit(several("", rules)).table().to_pylist()
    for number, names in enumerate(filled.values()):
        found = [row for row in rows if row["rule"] == f"variant {number}"]
        assert found
        assert [name for row in found for name in names if not row[name]] == []


def test_what_a_query_returns_itself_is_kept(audit: Audit) -> None:
    sql = "SELECT SeriesInstanceUID, 'elsewhere' AS collection_id, 'here' AS problem FROM instances LIMIT 1"
    (row,) = audit(f'[[rules]]\nname = "own"\nsql = "{sql}"\n').table().to_pylist()
    assert (row["collection_id"], row["problem"]) == ("elsewhere", "here")
    (other,) = audit('[[rules]]\nname = "own"\nsql = "SELECT 7 AS number"\n').table().to_pylist()
    assert (other["subject"], other["collection_id"]) == ("7", None)


def test_all_findings_of_a_rule_are_shown_on_request(
    config: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    sql = "SELECT SOPInstanceUID FROM instances"
    path = config(f"[audit]\nexamples = 1\n[[rules]]\nname = 'own rule'\nsql = '{sql}'\n")
    assert command(path) == 3
    assert f"more: harvester audit {path} --show 'own rule'" in capsys.readouterr().out
    assert command(path, show="own rule") == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == len(duckdb.sql(last.partition("in DuckDB: ")[2]).fetchall()) > 1
    with pytest.raises(ConfigError, match="did you mean own rule"):
        command(path, show="own rul")


def test_more_violations_than_were_checked_are_no_share(audit: Audit) -> None:
    result = audit(f"[[rules]]\nname = 'two'\n{TWO}of = 'SELECT 1'\n")
    assert (only(result).violations, only(result).share) == (2, None)
    result.keep(json_bytes(as_json(result)))
    assert "2 violations in 1" in render(gather(result.dataset, ()))
