"""The documents match the program: commands, columns, floors, SQL, links."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import partial

import anyio
import duckdb
import pyarrow as pa
import pytest
import typer
from checkout import ROOT

import harvester
from harvester.cli import application
from harvester.config import CrawlConfig, LimitsConfig, load
from harvester.dataset import FAILURE_COLUMNS, FRAME_COLUMNS, HARVEST_COLUMNS, REMAINDER_COLUMNS
from harvester.demo import demo_bucket
from harvester.dicom.dictionary import BINARY_VRS
from harvester.dicom.schema import value_type
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import HarvestError
from harvester.query import open_dataset, run_query

README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
WRITER = [sys.executable, str(ROOT / "scripts" / "reference_pages.py")]
COMMANDS = typer.main.get_command(application()).commands


def blocks(text, language):
    """The fenced blocks of a language in a Markdown text."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for marked, block in fenced if marked == language]


def typed_commands(text):
    """The commands of the shell blocks in a Markdown text, as argument lists; a quote may span lines."""
    for block in blocks(text, "sh"):
        waiting = ""
        for line in block.splitlines(keepends=True):
            waiting += line
            try:
                words = shlex.split(waiting, comments=True)
            except ValueError:
                continue  # an open quote
            waiting = ""
            if words:
                yield words
        assert not waiting


def columns_in(text, heading):
    """The names and types of the tables under a heading: `name` | `type`."""
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = {}
    for names, kind in re.findall(r"^\| (`[^|]*`) \| `([^`|]*)`[^|]*\|", section, re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", names), kind)
    return found


def spelt(kind):
    """An Arrow type as the documents write it."""
    return f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind)


def layers():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(one["layers"] for one in contracts if one["type"] == "layers")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """The quickstart's dataset, made as its script makes it."""
    folder = tmp_path_factory.mktemp("quickstart")

    async def make():
        async with demo_bucket(None, 0) as address:
            text = (ROOT / "configs" / "quickstart.toml").read_text()
            text = text.replace("http://127.0.0.1:9000", address.endpoint)
            config = folder / "quickstart.toml"
            config.write_text(text.replace('"data/quickstart"', f"'{folder}/data'"))
            await crawl(load(config), CrawlProgress())

    anyio.run(make)
    return folder / "data"


def test_an_outdated_generated_page_is_an_error(tmp_path):
    changes = {
        "commands.md": ("--limit-series NUMBER", "--limit NUMBER"),
        "configuration.md": ("whole number", "number"),
        "audits.md": ("Every object could be harvested", "No object failed"),
    }
    for name, (text, other) in changes.items():
        (tmp_path / name).write_text((ROOT / "docs" / name).read_text().replace(text, other))
    checked = subprocess.run(
        [*WRITER, "--check", "--docs", str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 1
    missing = [line for line in checked.stdout.splitlines() if line.startswith("+")]
    assert [text for text, _ in changes.values() if text not in "\n".join(missing)] == []


def test_generated_pages_are_current_and_no_cell_of_a_table_is_cut():
    assert subprocess.run([*WRITER, "--check"], check=False, capture_output=True).returncode == 0
    rows = re.findall(r"^\|.*\|$", (ROOT / "docs" / "commands.md").read_text(), re.MULTILINE)
    assert [row for row in rows if len(re.findall(r"(?<!\\)\|", row)) != 3] == []


def test_every_command_is_documented():
    reference = (ROOT / "docs" / "commands.md").read_text()
    assert re.findall(r"^## harvester (\w+)$", reference, re.MULTILINE) == list(COMMANDS)
    assert [name for name in COMMANDS if f"harvester {name}" not in README] == []


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted((ROOT / "configs").glob("*.toml"))], ids=lambda page: page.name
)
def test_pages_name_existing_commands_only(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^\$ |^#   )harvester ([a-z]\w*)", text, re.MULTILINE)
    assert set(named) <= set(COMMANDS)


@pytest.mark.parametrize(
    "words", [words for words in typed_commands(README) if words[0] == "harvester"], ids=" ".join
)
def test_the_commands_of_the_readme_parse(words):
    COMMANDS[words[1]].make_context(words[1], words[2:])


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "docs/contributing.md"], ids=lambda page: page.name
)
def test_pages_name_scripts_that_are_executable(page):
    text = page.read_text(encoding="utf-8")
    run = {words[0] for words in typed_commands(text) if words[0].startswith("scripts/")}
    assert run
    assert [path for path in run if not (ROOT / path).stat().st_mode & 0o100] == []


def test_the_fifteen_changes_name_files_that_exist():
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    paths = re.findall(r"^\| .* \| `(harvester/[\w/.]+)`", text, re.MULTILINE)
    assert len(paths) == 15
    paths += re.findall(r"`((?:harvester|docs|scripts|tests)/[a-z\d_/.]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_api_page_lists_the_public_names():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]*`) \|", page, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(harvester.__all__)
    described = set(re.findall(r"^::: harvester\.(\w+)$", page, re.MULTILINE))
    twins = {name for name in harvester.__all__ if name.startswith("a") and name[1:] in harvester.__all__}
    assert described == set(harvester.__all__) - twins - {"__version__"}


def test_the_readme_of_a_package_index_has_no_relative_link():
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    (substitution,) = hooks["fancy-pypi-readme"]["substitutions"]
    text = re.sub(substitution["pattern"], substitution["replacement"], README)
    assert re.findall(r"\]\((?!https?://)", text) == []


def test_the_docs_site_builds_without_warnings(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "read_headers" in (tmp_path / "api" / "index.html").read_text(encoding="utf-8")


def test_the_map_of_the_documentation_names_every_page():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((\w[\w-]*\.md)\)", index))
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert linked == set(re.findall(r"- (\S+\.md)$", site, re.MULTILINE)) - {"index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_exist(page):
    linked = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_the_readme_opens_with_two_commands_and_three_lines_of_python():
    first, second, *_ = typed_commands(README)
    assert (first[:2], second) == (["git", "clone"], ["scripts/quickstart"])
    program = blocks(README, "python")[0]
    compile(program, "README.md", "exec")
    assert len([line for line in program.splitlines() if line and "import" not in line]) == 3
    assert README.index(program) < 1000
    named = re.findall(r"harvester\.(\w+)\(", README)
    assert set(named) <= set(harvester.__all__)


def test_the_configuration_in_the_readme_is_valid():
    (text,) = blocks(README, "toml")
    config = CrawlConfig.model_validate(tomllib.loads(text))
    assert config.source.providers == ("gcs", "aws")


def test_the_readme_lists_every_configuration():
    listed = set(re.findall(r"\]\(configs/([\w-]+\.toml)\)", README))
    assert listed == {path.name for path in (ROOT / "configs").glob("*.toml")}


def test_the_architecture_names_every_package_on_its_floor():
    floors = [re.findall(r"\w+", floor) for floor in reversed(layers())]
    named = re.findall(r"^\| (\d) \| `(\w+)` \|", ARCHITECTURE, re.MULTILINE)
    assert sorted(named) == sorted(
        (str(number), name) for number, floor in enumerate(floors, 1) for name in floor
    )


@pytest.mark.parametrize(
    ("heading", "schema"),
    [
        ("`instances`: columns of the harvest", HARVEST_COLUMNS),
        ("`frames`", FRAME_COLUMNS),
        ("`failures`", FAILURE_COLUMNS),
    ],
)
def test_every_fixed_column_is_documented_with_its_type(heading, schema):
    documented = columns_in(DATA, heading)
    documented.pop("collection_id" if schema is HARVEST_COLUMNS else "", None)
    assert documented == {field.name: spelt(field.type) for field in schema}


@pytest.mark.parametrize(
    "column",
    [column for column in REMAINDER_COLUMNS if pa.types.is_struct(column.type.value_type)],
    ids=lambda column: column.name,
)
def test_the_fields_of_what_has_no_column_are_documented(column):
    section = DATA.split(f"\n`{column.name}`: ", 1)[1].split("\n\n`", 1)[0]
    documented = re.findall(r"^\| `(\w+)` \| `([^`]+)`", section, re.MULTILINE)
    assert documented == [(field.name, spelt(field.type)) for field in column.type.value_type]


def test_the_type_of_each_value_representation_is_documented():
    rows = re.findall(r"^\| ([A-Z]{2}(?:, [A-Z]{2})*) \| `?([^|`]*)", DATA, re.MULTILINE)
    documented = {vr: kind for vrs, kind in rows[1:] for vr in vrs.split(", ")}  # rows[0] is the table's head
    assert documented.pop("SQ") == "list<struct<...>>"
    assert {vr for vr, kind in documented.items() if kind.startswith("no column")} == BINARY_VRS
    assert documented.pop("PN") == "struct<Alphabetic, Ideographic, Phonetic>"
    others = {vr: kind for vr, kind in documented.items() if vr not in BINARY_VRS}
    assert others == {vr: str(value_type(vr)) for vr in others}
    assert len(documented) == 32  # and SQ and PN: the 34 value representations of PS3.5 6.2


def reasons(error):
    return {error.reason} - {"unknown"} | {
        reason for one in error.__subclasses__() for reason in reasons(one)
    }


def test_every_reason_of_a_failure_is_documented():
    section = DATA.split("\n## `failures`\n", 1)[1]
    documented = set(re.findall(r"^\| `(\w+)` \| [^`]", section, re.MULTILINE))
    assert documented == reasons(HarvestError) | {"incomplete_series", "worker_died", "bug"}


def queries():
    for text in (README, DATA):
        yield from blocks(text, "sql")
        yield from (words[-1] for words in typed_commands(text) if words[:2] == ["harvester", "sql"])
    yield from re.findall(r'^\$ harvester sql -d \S+ "([^"]+)"', README, re.MULTILINE)


@pytest.mark.parametrize("sql", list(queries()), ids=partial(re.sub, r"\s+", " "))
def test_the_sql_in_the_documents_returns_rows(sql, quickstart):
    if "read_parquet" in sql:  # DuckDB alone, without us
        assert duckdb.connect().sql(sql.replace("data/quickstart", str(quickstart))).fetchall()
        return
    connection = open_dataset(quickstart)
    try:
        dialect = "bigquery" if "`bigquery-public-data." in sql else "duckdb"
        assert sum(batch.num_rows for batch in run_query(connection, sql, dialect).batches())
    finally:
        connection.close()


def test_the_quickstart_runs_the_queries_of_the_readme():
    script = (ROOT / "scripts" / "quickstart").read_text()
    shown = re.findall(r'^\$ harvester sql -d \S+ "([^"]+)"', README, re.MULTILINE)
    assert re.findall(r'^ask "([^"]+)"', script, re.MULTILINE) == shown


def test_the_failures_of_the_quickstart_are_as_the_readme_prints_them(quickstart):
    connection = open_dataset(quickstart)
    try:
        failures = connection.sql("SELECT reason, message FROM failures ORDER BY reason").fetchall()
    finally:
        connection.close()
    printed = re.search(r"^reason +message *\n─+\n(.*?)^\d+ rows$", README, re.MULTILINE | re.DOTALL)
    assert printed
    assert [tuple(line.split(maxsplit=1)) for line in printed[1].splitlines()] == failures


def test_the_page_of_limits_has_every_key_with_its_default():
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE)
    told = {key: default.strip("`").replace(",", "") for key, default in rows}
    assert told == {
        key: "none" if value is None else json.dumps(value)
        for key, value in LimitsConfig().model_dump().items()
    }
