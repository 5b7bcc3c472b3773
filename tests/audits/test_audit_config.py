"""What an audit's TOML file may say, and what is said of one that cannot be used."""

from pathlib import Path

import pytest
from checkout import ROOT

from harvester.audits import check_rules, load_audit
from harvester.errors import UserError


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
