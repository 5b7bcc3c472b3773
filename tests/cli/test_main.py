"""The commands as a shell sees them: exit status, one line for what is wrong, one JSON object on stdout."""

import json
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import duckdb
import pydicom
import pytest
from checkout import ROOT
from harvester_program import COMMAND, ended, run, start
from pydicom.data import get_testdata_file
from recorded_demo import RecordedDemo, recorded_demo

from harvester.demo import lay_out

CT = Path(str(get_testdata_file("CT_small.dcm")))
# Makes every socket, and so every look-up of a name, an error.
NO_NETWORK = """
import socket
def refuse(*_, **__):
    raise RuntimeError("a socket was opened")
socket.socket.__init__ = socket.create_connection = socket.getaddrinfo = refuse
"""


@pytest.fixture(scope="module")
def demo() -> Iterator[RecordedDemo]:
    with recorded_demo() as demo:
        yield demo


@pytest.fixture(scope="module")
def dataset(demo: RecordedDemo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crawl of the demo bucket, all of which can be harvested."""
    folder = tmp_path_factory.mktemp("crawl")
    assert run("crawl", demo.toml(folder, select='Modality = "CT"')).status == 0
    return folder / "dataset"


def test_the_version_is_the_packages() -> None:
    result = run("--version")
    assert (result.status, result.stdout) == (0, f"harvester {version('dicom-harvester')}\n")


@pytest.mark.parametrize("command", [[], ["crawl"], ["header"]])
def test_help_is_on_stdout(command: list[str]) -> None:
    result = run(*command, "--help")
    assert (result.status, result.stderr) == (0, "")
    assert "Usage: " in result.stdout


def test_a_crawl_says_what_it_did_on_stderr_and_one_json_object_on_stdout(
    demo: RecordedDemo, tmp_path: Path
) -> None:
    result = run("crawl", demo.toml(tmp_path, select='Modality = "CT"'), "--json")
    assert result.status == 0
    (line,) = result.stdout.splitlines()
    done = json.loads(line)
    assert set(done) == {
        *("instances", "failures", "skipped", "series"),
        *("requests", "bytes_fetched", "seconds", "dataset"),
    }
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT count(*) FROM '{tmp_path}/dataset/instances/**/*.parquet'"
        ).fetchone()
    assert found == (done["instances"],)
    assert done["dataset"] == str(tmp_path / "dataset")
    assert f"{done['instances']} instances of {done['series']} series in " in result.stderr
    without = run("crawl", demo.toml(tmp_path, select='Modality = "CT"'))
    assert (without.status, without.stdout) == (0, "")
    assert f"{done['instances']} objects skipped, harvested before" in without.stderr


def test_some_failures_give_status_3(demo: RecordedDemo, tmp_path: Path) -> None:
    result = run(
        "crawl", demo.toml(tmp_path, limits="max_header_bytes = 1024"), "--json", "--limit-series", "40"
    )
    done = json.loads(result.stdout)
    assert result.status == 3
    assert done["failures"] > 0
    assert done["instances"] > 0
    assert "SELECT reason, count(*) FROM failures" in result.stderr
    asked = run("sql", "-d", tmp_path / "dataset", "SELECT DISTINCT reason FROM failures", "--format", "csv")
    assert "header_limit" in asked.stdout


def a_toml(folder: Path, text: str) -> Path:
    (folder / "crawl.toml").write_text(text)
    return folder / "crawl.toml"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('dataset = "d"\n[selekt]\n', r"selekt: unknown key; did you mean select"),
        (
            'dataset = "d"\n[limits]\nconcurency = 1\n',
            r"limits\.concurency: unknown key; did you mean concurrency\?",
        ),
        ("[select]\n", "dataset: missing"),
        ('dataset = "d"\n[select\n', "not TOML"),
        (
            'dataset = "d"\n[select]\ncollection_id = "tcga_laud"\n',
            "'tcga_laud' is in no row; did you mean tcga_luad",
        ),
        ('dataset = "d"\n[select]\nModality = "TC"\n', r"select\.Modality: 'TC' is in no row"),
        ('dataset = "d"\n[select]\nModalitty = "CT"\n', "no such column; did you mean Modality"),
        (
            'dataset = "d"\n[select]\nModality = "SM"\nwhere = "1 = 2"\n',
            "no series of .* satisfies Modality and where",
        ),
        ('dataset = "d"\n[select]\nwhere = "SeriesDescripton = 1"\n', "SeriesDescripton"),
        ('dataset = "d"\n[select]\nroot = "nowhere"\n', "no such file or folder 'nowhere'"),
        ('dataset = "crawl.toml"\n[select]\nurls = "urls.txt"\n', "a dataset is a directory, this is a file"),
    ],
    ids=[
        *("misspelt table", "misspelt key", "missing key", "not TOML", "unknown collection"),
        *(
            "misspelt modality",
            "unknown column",
            "empty selection",
            "wrong where",
            "missing folder",
            "no directory",
        ),
    ],
)
def test_what_the_user_wrote_wrong_is_one_line_and_status_2(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "urls.txt").write_text(f"{CT}\n")
    result = run("crawl", a_toml(tmp_path, text).name, "--json", cwd=tmp_path)
    assert (result.status, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("harvester: ")
    assert "crawl.toml" in line
    assert re.search(complaint, line)
    assert not (tmp_path / "d").exists(), "a crawl that cannot begin leaves nothing behind"


def test_a_missing_configuration_is_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "quickstart.toml").touch()
    for command in ("crawl", "plan"):
        result = run(command, tmp_path / "quikstart.toml")
        assert result.status == 2
        assert re.fullmatch(r"harvester: .*quikstart.toml: no such file; did you mean .*\n", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "'frobnicate'.*`harvester --help`"),
        (["crawl"], "CONFIG.*`harvester crawl --help`"),
        (["crawl", "x", "--limit-series", "0"], "'--limit-series': expected at least 1, not '0'[.] See"),
        (
            ["demo", "--port", "x"],
            "'--port': expected a whole number, not 'x'[.] See",
        ),
        (["sql", "--format", "x"], "'--format': 'x' is not one of 'table', .*'parquet'[.] See"),
        (["plan", "x", "--jsom"], "--jsom.*`harvester plan --help`"),
    ],
    ids=["command", "argument", "bound", "number", "word", "option"],
)
def test_a_wrong_command_line_is_one_line_and_status_2(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert (result.status, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("harvester: ")
    assert re.search(said, line)


def test_no_arguments_give_the_help() -> None:
    result = run()
    assert result.status == 2
    assert "Usage: " in result.stdout


def test_an_endpoint_that_refuses_connections_ends_the_crawl(tmp_path: Path, demo: RecordedDemo) -> None:
    toml = demo.toml(tmp_path, limits="attempts = 1")
    toml.write_text(
        toml.read_text().replace(f'endpoint = "{demo.address.endpoint}"', 'endpoint = "http://127.0.0.1:1"')
    )
    result = run("crawl", toml, "--json", "--limit-series", "2")
    assert (result.status, result.stdout) == (2, "")
    assert "127.0.0.1:1 refuses connections" in result.stderr.splitlines()[-1]


def test_a_header_of_a_local_file() -> None:
    result = run("header", CT)
    expected = pydicom.dcmread(CT)
    assert result.status == 0
    assert f"SOPInstanceUID: {expected.SOPInstanceUID}\n" in result.stdout
    assert f"Rows: {expected.Rows}\n" in result.stdout
    assert "1 request" in result.stderr
    assert run("header", CT.name, cwd=CT.parent).stdout == result.stdout


def test_a_header_from_a_bucket_as_json(demo: RecordedDemo) -> None:
    demo.forget()
    found = json.loads(run("header", CT, "--json").stdout)
    key = next(one.key for one in lay_out().instances if Path(one.path) == CT.resolve())
    result = run("header", f"s3://{demo.address.bucket}/{key}", "--endpoint", demo.address.endpoint, "--json")
    assert result.status == 0
    (line,) = result.stdout.splitlines()
    there = json.loads(line)
    assert there["instance_url"] == f"s3://{demo.address.bucket}/{key}"
    assert there["etag"] is not None
    assert there["requests"] == len(demo.objects) == 1
    same = {"instance_url": None, "etag": None}
    assert there | same == found | same
    assert there["SOPInstanceUID"] == pydicom.dcmread(CT).SOPInstanceUID


def test_the_conformance_of_an_object_in_a_bucket_needs_its_header_alone(demo: RecordedDemo) -> None:
    demo.forget()
    key = next(one.key for one in lay_out().instances if Path(one.path) == CT.resolve())
    url = f"s3://{demo.address.bucket}/{key}"
    there = run("conformance", url, "--endpoint", demo.address.endpoint, "--json")
    here = run("conformance", CT, "--json")
    assert (there.status, len(demo.objects)) == (here.status, 1)
    found, expected = json.loads(there.stdout), json.loads(here.stdout)
    assert found["instances"] == {pydicom.dcmread(CT).SOPClassUID: 1}
    assert {one["instance_url"] for one in found["findings"]} <= {url}
    for one in (*found["findings"], *expected["findings"]):
        del one["instance_url"]
    assert found == expected


@pytest.mark.parametrize("name", ["text", "nothing", "cut", "missing"])
def test_a_header_that_cannot_be_read_is_one_line_and_status_3(tmp_path: Path, name: str) -> None:
    contents = {"text": b"Once upon a time. " * 20, "nothing": b"", "cut": CT.read_bytes()[:900]}
    if name in contents:
        (tmp_path / name).write_bytes(contents[name])
    result = run("header", tmp_path / name, "--json")
    assert (result.status, result.stdout) == (3, "")
    (line,) = result.stderr.splitlines()
    assert str(tmp_path / name) in line
    reason = {"text": "not_dicom", "nothing": "not_dicom", "cut": "truncated", "missing": "not_found"}[name]
    assert line.endswith(f"({reason})")


def test_an_address_of_an_unknown_scheme_is_status_2() -> None:
    result = run("header", "ftp://host/file.dcm")
    assert result.status == 2
    assert re.fullmatch("harvester: 'ftp://host/file.dcm': scheme 'ftp' is none of .*\n", result.stderr)


def release() -> str:
    return version("idc-index-data")


def test_a_plan_of_all_slides_opens_no_socket(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    opened = subprocess.run(
        [*COMMAND[:2], "import socket; socket.socket()"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "a socket was opened" in opened.stderr, "the test would not notice a socket"
    result = ended(start("plan", ROOT / "configs/idc-sm.toml", "--assume", PYTHONPATH=str(tmp_path)))
    assert (result.status, result.stderr) == (0, "")
    assert f"idc-index-data {release()}" in result.stdout
    if not release().startswith("25."):
        pytest.skip(f"the numbers below are of idc-index-data 25, not {release()}")
    assert "76,300 series, 391,939 instances, 49.0 TB" in result.stdout
    assert re.search(
        r"a crawl reads about [\d.]+ [MG]B of that \(0\.\d+%\) in [\d,]+ requests", result.stdout
    )


@pytest.mark.parametrize(
    "name", ["idc-sm", "idc-ct-collection", "idc-manifest", pytest.param("idc-all", marks=pytest.mark.slow)]
)
def test_every_configuration_of_the_project_plans(tmp_path: Path, name: str) -> None:
    result = run("plan", ROOT / "configs" / f"{name}.toml", "--json", "--assume", cwd=tmp_path)
    assert result.status == 0, result.stderr
    planned = json.loads(result.stdout)
    assert planned["instances"] > 0
    assert planned["header_bytes"] < planned["object_bytes"]
    if name == "idc-sm" and release().startswith("25."):
        assert (planned["series"], planned["instances"]) == (76_300, 391_939)
        assert planned["header_bytes"] < planned["object_bytes"] / 1000


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_sql_answers_in_every_form(dataset: Path, form: str) -> None:
    query = "SELECT Modality, count(*) AS number FROM instances GROUP BY ALL"
    result = run("sql", "-d", dataset, query, "--format", form)
    assert (result.status, result.stderr) == (0, "")
    with duckdb.connect() as connection:
        ((count,),) = connection.execute(
            f"SELECT count(*) FROM '{dataset}/instances/**/*.parquet'"
        ).fetchall()
    if form == "json":
        (line,) = result.stdout.splitlines()
        assert json.loads(line) == {"Modality": "CT", "number": count}
    elif form == "csv":
        assert result.stdout.splitlines() == ["Modality,number", f"CT,{count}"]
    else:
        assert re.search(rf"CT\s+{count}", result.stdout)


def test_sql_writes_parquet_to_a_file(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "answer.parquet"
    result = run("sql", "-d", dataset, "SELECT Modality FROM instances", "--format", "parquet", "-o", out)
    assert (result.status, result.stdout) == (0, "")
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT DISTINCT Modality FROM '{out}'").fetchall() == [("CT",)]


@pytest.mark.parametrize("query", ["SELEC 1", "SELECT nothing FROM instances", "SELECT * FROM '/etc/passwd'"])
def test_sql_that_cannot_run_is_one_line_and_status_2(dataset: Path, query: str) -> None:
    result = run("sql", "-d", dataset, query)
    assert (result.status, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("harvester: ")


def test_sql_without_a_dataset_is_one_line_and_status_2(tmp_path: Path) -> None:
    result = run("sql", "-d", tmp_path / "nothing", "SELECT 1")
    assert result.status == 2
    assert len(result.stderr.splitlines()) == 1
    assert str(tmp_path / "nothing") in result.stderr


@pytest.mark.parametrize(("form", "rows"), [("table", 1), ("csv", 200_000), ("json", 200_000)])
def test_a_reader_that_has_seen_enough_ends_the_program_quietly(dataset: Path, form: str, rows: int) -> None:
    query = f"SELECT * FROM range({rows})"
    with subprocess.Popen(
        [*COMMAND, "sql", "-d", str(dataset), query, "--format", form],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if rows > 1:
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(300) == 0
