"""What an audit's TOML file may say, and what is said of one that cannot be used."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT

from harvester.audits import BUILT_IN, check_rules, load_audit
from harvester.audits.config import AuditSettings, audit_config
from harvester.audits.rules import parameters
from harvester.config import CrawlConfig, ScheduleConfig
from harvester.errors import UserError

WRONG = (
    -1,
    2.5,
    10**15,
    math.nan,
    True,
    "",
    "x" * 600,
    b"x",
    [],
    [3],
    [[3]],
    ["a", "b", "c"],
    {},
    {"Rows": [1]},
)


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        (
            "[[rules]]\nrule = 'ofset_table'\n",
            "rules[1].rule: there is no rule 'ofset_table'; did you mean offset_table",
        ),
        (
            "[[rules]]\nrule = 'offset_table'\nacept = []\n",
            "(offset_table): acept: unknown parameter; did you mean accept",
        ),
        ("[[rules]]\nrule = 'required_attributes'\nattributes = ['Patient_ID']\n", "did you mean PatientID"),
        (
            "[[rules]]\nrule = 'transfer_syntax'\nallowed = ['JPEGBaseline']\n",
            "did you mean JPEGBaseline8Bit",
        ),
        (
            "[[rules]]\nrule = 'offset_table'\nSOPClassUID = 'CTImage'\n",
            "nor the keyword of a SOP Class; did you mean",
        ),
        ("[[rules]]\nrule = 'value_ranges'\nranges = { KVP = [3, 1] }\n", "KVP: expected [least, most]"),
        (
            "[[rules]]\nrule = 'value_ranges'\nranges = { PatientID = [1, 3] }\n",
            "PatientID (LO) is not a number",
        ),
        (
            "[[rules]]\nrule = 'allowed_values'\nvalues = { KVP = ['a'] }\n",
            "KVP (DS): expected a list of numbers",
        ),
        ("[[rules]]\nrule = 'plausible_dates'\nattributes = 'StudyTime'\n", "StudyTime (TM) is not a date"),
        ("[[rules]]\nrule = 'failures'\n[[rules]]\nrule = 'failures'\n", "two are called 'failures'"),
        ("[[rules]]\nname = 'own'\nsql = 'SELECT Modalty FROM instances'\n", "rule own:"),
        ("[[rules]]\nname = 'own'\nsql = 'DROP VIEW instances'\n", "DROP statements are not allowed"),
        ("[[rules]]\nname = 'own'\nsql = 'SELECT 1'\nModality = 'CT'\n", "write it into the WHERE of sql"),
        ("[[rules]]\nrule = 'failures'\nwhere = 'nonsense ='\n", "rule failures:"),
        ("[audit]\nfail_on = 'eror'\n", "audit.fail_on: 'eror' is not valid; did you mean error"),
        ("[audit]\nfailon = 'error'\n", "audit.failon: unknown key; did you mean fail_on"),
        ("[rule]\n", "rule: unknown key; did you mean rules"),
        ("[rules]\n", "expected tables; write each as [[rules]]"),
    ],
)
def test_what_is_misspelt_is_said_before_anything_is_harvested(
    tmp_path: Path, rules: str, complaint: str
) -> None:
    config = tmp_path / "audit.toml"
    config.write_text(f"dataset = '{tmp_path}/dataset'\n{rules}")
    with pytest.raises(UserError) as raised:
        check_rules(load_audit(config))
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "config", sorted((ROOT / "configs").glob("audit-*.toml")), ids=lambda path: path.stem
)
def test_every_shipped_audit_loads_and_its_queries_run(
    config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    audit = load_audit(config)
    check_rules(audit)
    assert not Path(audit.crawl.dataset).is_absolute()
    assert audit.rules


def settings_of_every_key(value: object) -> Iterator[dict[str, object]]:
    """Documents with a value of one type for one key, for each key of an audit."""
    for table, field in CrawlConfig.model_fields.items():
        yield {table: value}
        yield from ({table: {key: value}} for key in getattr(field.annotation, "model_fields", ()))
    yield {"schedule": value}
    yield from ({"schedule": {"cron": "0 3 * * *", key: value}} for key in ScheduleConfig.model_fields)
    yield {"audit": value}
    yield from ({"audit": {key: value}} for key in AuditSettings.model_fields)
    for rule in BUILT_IN:
        yield from ({"rules": [{"rule": rule.kind, key: value}]} for key in parameters(rule))
    yield from ({"rules": [{"name": "own", "sql": "SELECT 1", key: value}]} for key in ("name", "sql", "of"))


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:12])
def test_a_wrong_type_is_said_in_our_words(value: object) -> None:
    refused = 0
    for document in settings_of_every_key(value):
        try:
            audit_config(Path("audit.toml"), {"dataset": "d", **document})
        except UserError as error:
            refused += 1
            message = str(error)
            assert "\n" not in message
            assert not re.search(r"Input|should|literal|\.(str|int|float)\b|valid (tuple|dict)", message)
    assert refused > 40
