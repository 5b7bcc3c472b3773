"""`harvester init` and `harvester config`: files that other commands take, and their documentation."""

import json
import re
import tomllib
from importlib import import_module

import pytest
from checkout import ROOT

from harvester.cli import config as config_command
from harvester.cli import init
from harvester.config import CrawlConfig, load
from harvester.config.reference import json_schema, keys
from harvester.errors import ConfigError

SELECTIONS = [
    {},
    {"collection_id": ["nlst"], "Modality": ["CT", "SEG"]},
    {"where": "SeriesDescription ILIKE '%\"lung\"%'"},
]


@pytest.mark.parametrize("select", SELECTIONS)
def test_a_written_configuration_has_what_was_chosen(tmp_path, select):
    file = tmp_path / "crawl.toml"
    file.write_text(init.crawl_toml("data/x", "gcs", select))
    config = load(file)
    assert (config.dataset, config.source.provider) == ("data/x", ("gcs",))
    assert config.select.where == select.get("where")
    assert config.select.columns == {key: tuple(value) for key, value in select.items() if key != "where"}


def test_every_key_of_a_written_configuration_is_valid_once_uncommented():
    text = init.crawl_toml("data/x", "aws", {})
    for key in keys():
        if key.table == "schedule":
            continue
        table = {key.name: tomllib.loads(f"x = {key.example}")["x"]}
        document = {"dataset": "data/x", key.table: table} if key.table else {"dataset": table[key.name]}
        if key.name == "scheduler":
            table["engine"] = "dask"
        if key.table == "select":
            catalogs = {"urls": "listing", "prefixes": "listing", "root": "local"}
            document["source"] = {"catalog": catalogs.get(key.name, "idc")}
        CrawlConfig.model_validate(document)
        assert f"{key.name} = " in text


def test_an_example_is_copied_and_a_file_is_never_replaced(tmp_path, capsys):
    file = tmp_path / "new" / "slides.toml"
    init.command(file, example="idc-sm")
    assert file.read_text() == (ROOT / "configs" / "idc-sm.toml").read_text()
    assert "harvester plan" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="exists already"):
        init.command(file, example="idc-sm")
    with pytest.raises(ConfigError, match="did you mean idc-sm"):
        init.command(tmp_path / "other.toml", example="idc-sn")


def test_an_example_brings_the_manifest_that_it_names(tmp_path):
    init.command(tmp_path / "mine.toml", example="idc-manifest")
    assert load(tmp_path / "mine.toml").select.manifest == str(tmp_path / "cohort.s5cmd")
    assert (tmp_path / "cohort.s5cmd").stat().st_size > 0


@pytest.mark.parametrize("name", ["init", "audit", "doctor", "crawl", "config", "catalog"])
def test_no_help_names_a_path_that_an_installed_user_lacks(name):
    module = import_module(f"harvester.cli.{name}")
    assert not re.search(r"\b(configs|scripts|docs|tests)/", f"{module.EPILOG} {module.command.__doc__}")


def test_every_key_has_a_meaning_and_an_example():
    assert [key for key in keys() if not key.meaning or not key.example] == []


def test_a_configuration_is_shown_with_its_defaults(tmp_path, capsys):
    file = tmp_path / "crawl.toml"
    file.write_text('dataset = "data/x"\n[select]\nModality = "SM"\n[limits]\nprocesses = 3\n')
    config_command.command(file)
    shown = capsys.readouterr().out
    assert 'Modality = "SM"\n' in shown
    assert "processes = 3\n" in shown
    assert "concurrency = 256  # default\n" in shown
    assert "series," in shown.splitlines()[-1]
    assert tomllib.loads(shown)["limits"]["processes"] == 3


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "configs").glob("audit-*.toml"))])
def test_an_audit_is_shown_with_its_rules(capsys, name):
    config_command.command(ROOT / "configs" / name)
    assert "# rules: " in capsys.readouterr().out


def test_the_schema_has_every_key_and_its_meaning(capsys):
    config_command.command(schema=True)
    schema = json.loads(capsys.readouterr().out)
    assert schema == json.loads(json.dumps(json_schema()))
    limits = schema["$defs"]["LimitsConfig"]["properties"]
    assert limits["hedge"]["type"] == "boolean"
    assert "a second time" in limits["hedge"]["description"]
    assert "columns" not in schema["$defs"]["SelectConfig"]["properties"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("dataset = data/x", "put a text in quotes.*line 1: .*data/x"),
        ('dataset = "x"\n[select\n', r"a table ends with a bracket.*line 2"),
        ('dataset = "x\n', "a quote is not closed"),
        ('dataset = "x"\n[select]\nModality = ["CT"\n', "not TOML"),
    ],
)
def test_a_slip_in_toml_has_a_hint(tmp_path, text, hint):
    file = tmp_path / "crawl.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=hint) as raised:
        load(file)
    assert "\n" not in str(raised.value)


def test_a_configuration_of_nothing_is_an_error():
    with pytest.raises(ConfigError, match="--schema"):
        config_command.command()
