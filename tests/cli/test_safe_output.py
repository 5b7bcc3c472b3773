"""What goes to a terminal or a file: no control sequence, no half file, no formula."""

import json
import logging
import os
import pty
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harvester_program import COMMAND, run
from hex_names import hex_name

import harvester
from harvester.cli.logs import JsonFormatter, TextFormatter
from harvester.cli.options import show
from harvester.dataset import Dataset, Partition
from harvester.dataset.output_file import replaced_file, require_writable
from harvester.errors import ConfigError, QueryError
from harvester.messages import printable, printable_json

EVIL = "a\x1b]0;owned\x07\x9b31m\u202eb"
ESCAPED = r"a\x1b]0;owned\x07\x9b31m\u202eb"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    dataset = Dataset.create(tmp_path / "ds")
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("s"))
    table = pa.table({"SOPInstanceUID": ["1", "2"], "PatientComments": [EVIL, "=1+1"]})
    writer.write_instances(table, Partition("c", "CT"))
    writer.commit(["s"], requests=1, bytes_fetched=1, seconds=1, versions={})
    return tmp_path / "ds"


def test_a_text_is_escaped_where_a_terminal_would_act_on_it() -> None:
    assert printable(EVIL) == ESCAPED
    assert printable("ä 漢 🙂\n", keep="\n") == "ä 漢 🙂\n"
    assert printable_json('{"a": "\x7f\x9b\u2066"}\n') == '{"a": "\\u007f\\u009b\\u2066"}\n'


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_no_control_character_of_a_file_reaches_the_terminal(dataset: Path, form: str) -> None:
    master, slave = pty.openpty()
    query = "SELECT PatientComments FROM instances ORDER BY SOPInstanceUID LIMIT 1"
    command = [*COMMAND, "sql", "-d", str(dataset), query, "--format", form]
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        os.close(slave)
        shown = b""
        with suppress(OSError):  # the terminal is closed
            while block := os.read(master, 4096):
                shown += block
        assert process.wait() == 0
    os.close(master)
    assert b"owned" in shown
    assert not {"\x07", "\x9b", "\u202e"} & set(shown.decode())
    assert b"\x1b]" not in shown


def test_an_error_that_quotes_a_query_is_escaped(dataset: Path) -> None:
    done = run("sql", "-d", dataset, f"SELECT '{EVIL}' + FROM")
    assert done.status == 2
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(done.stderr)


def test_names_from_files_are_escaped_in_summaries(capsys: pytest.CaptureFixture[str]) -> None:
    show(f"dataset: {EVIL}\nnext line", err=True)
    assert capsys.readouterr().err == f"dataset: {ESCAPED}\nnext line\n"


def test_logs_are_escaped_as_text_and_as_json() -> None:
    record = logging.makeLogRecord({"msg": "%s cannot be listed", "args": (EVIL,), "levelname": "WARNING"})
    assert TextFormatter("%(message)s").format(record) == f"{ESCAPED} cannot be listed"
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == f"{EVIL} cannot be listed"


def test_no_command_prints_past_the_filter() -> None:
    """Text goes through `show` or `printable`; `typer.echo` is for JSON, in which controls are escaped."""
    folder = Path(harvester.__file__).parent / "cli"
    lines = [
        (path.name, line.strip()) for path in folder.glob("*.py") for line in path.read_text().splitlines()
    ]
    allowed = ("json.dumps(", "printable", "VERSION", "tables; .help", '"stopped"', "list_rules()")
    past = [one for one in lines if "typer.echo(" in one[1] and not any(word in one[1] for word in allowed)]
    assert past == [("demo.py", "typer.echo(")]  # its own addresses


def test_csv_can_be_made_safe_for_spreadsheets(dataset: Path) -> None:
    query = "SELECT PatientComments, -1 AS n FROM instances WHERE SOPInstanceUID = '2'"
    assert run("sql", "-d", dataset, query, "--format", "csv").stdout == "PatientComments,n\n=1+1,-1\n"
    safe = run("sql", "-d", dataset, query, "--format", "csv", "--csv-safe")
    assert safe.stdout == "PatientComments,n\n'=1+1,-1\n"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_output_that_fails_leaves_the_earlier_file(dataset: Path, tmp_path: Path, form: str) -> None:
    output = tmp_path / "out"
    output.write_text("earlier")
    query = "SELECT CASE WHEN i > 200000 THEN error('late') ELSE i END FROM range(300000) t(i)"
    done = run("sql", "-d", dataset, query, "--format", form, "-o", output)
    assert done.status == 2
    assert output.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ds", "out"]
    assert run("sql", "-d", dataset, "SELECT 1 AS x", "--format", "csv", "-o", output).status == 0
    assert output.read_text() == "x\n1\n"


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("binary", [False, True])
def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path, *, binary: bool, fails: bool) -> None:
    target, link = tmp_path / "out", tmp_path / "link"
    target.write_text("earlier")
    target.chmod(0o640)
    link.symlink_to(target)
    with suppress(QueryError), replaced_file(link, binary=binary) as stream:
        stream.write(b"new" if binary else "new")
        assert target.read_text() == "earlier"
        if fails:
            raise QueryError("late")
    assert target.read_text() == ("earlier" if fails else "new")
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out"]


@pytest.mark.parametrize("name", ["file/out", "n" * 300, "n" * 300 + "/out", "no/out"])
def test_a_file_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^-o: .+"):
        require_writable(tmp_path / name, option="-o")
    for binary in (False, True):
        with (
            pytest.raises(ConfigError, match=r"^-o: .+"),
            replaced_file(tmp_path / name, binary=binary, option="-o"),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_can_be_written_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("earlier")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "pipe", "new"):
        require_writable(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pipe"]
    assert (tmp_path / "file").read_text() == "earlier"


def test_every_command_with_an_output_file_replaces_it_whole() -> None:
    sources = {path.name: path.read_text() for path in Path(harvester.__file__).parent.glob("cli/*.py")}
    others = [name for name, text in sources.items() if re.search(r"write_(text|bytes)|open\(.w", text)]
    assert others == ["init.py"]  # which never replaces a file


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_on_a_full_disk_is_an_error_of_one_line(dataset: Path) -> None:
    for form in ("table", "csv", "json"):
        command = [*COMMAND, "sql", "-d", str(dataset), "SELECT 1", "--format", form]
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=300)
        assert done.returncode == 2
        assert done.stderr == b"harvester: the output cannot be written: No space left on device\n"


def test_a_query_that_is_not_utf_8_is_an_error_of_one_line(dataset: Path) -> None:
    command = [*COMMAND, "sql", "-d", str(dataset)]
    for arguments, given in (([b"SELECT '\xff'"], None), ([], b"SELECT '\xff'")):
        done = subprocess.run(
            [*command, *arguments], input=given, capture_output=True, check=False, timeout=300
        )
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert b"UTF-8" in done.stderr


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"SOPInstanceUID": ["1"], "m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}),
        pa.table({"SOPInstanceUID": ["1"], "b": [b"x"]}),
        pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["a", "a"]),
    ],
    ids=["map", "binary", "twice"],
)
def test_a_part_that_is_none_of_ours_is_named(dataset: Path, table: pa.Table) -> None:
    (part,) = Dataset.open(dataset).parts("instances")
    pq.write_table(table, dataset / part.path)
    for command in (["sql", "-d", dataset, "SELECT 1"], ["compact", "-d", dataset]):
        done = run(*command)
        assert done.status == 2
        assert done.stderr.count("\n") == 1
        assert part.path in done.stderr
