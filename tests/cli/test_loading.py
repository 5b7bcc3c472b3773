import os
import subprocess
import sys

import pyarrow as pa
import pytest
import typer
from harvester_program import COMMAND

from harvester.cli import application
from harvester.dataset import Dataset, Partition

ASKED = """
import sys
from harvester.cli import application
arguments = sys.argv[1:]
application(arguments)(arguments, standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""


def loaded(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", ASKED, *arguments], capture_output=True, text=True, check=True, timeout=300
    )
    return set(done.stderr.split())


# What IDC's tables have of any dataset; the dictionary has the types of those that its parts lack.
ATTRIBUTES = [
    *("SliceThickness", "BodyPartExamined", "PatientID", "PatientAge", "PatientSex", "AccessionNumber"),
    *("StudyDate", "StudyID", "StudyDescription", "SeriesDate", "SeriesDescription", "SeriesNumber"),
    *("Manufacturer", "ManufacturerModelName", "FrameOfReferenceUID", "SOPClassUID"),
]


def test_a_query_loads_what_a_query_needs(tmp_path):
    dataset = Dataset.create(tmp_path)
    writer = dataset.shard_writer("c" * 16, "5" * 16)
    writer.write_instances(pa.table({name: ["1"] for name in ATTRIBUTES}), Partition("c", "CT"))
    writer.commit(["1"], requests=1, bytes_fetched=1, seconds=1, versions={})
    packages = loaded("sql", "-d", str(tmp_path), "SELECT count(*) FROM instances")
    assert "duckdb" in packages
    absent = {"aiohttp", "anyio", "jinja2", "pandas", "prompt_toolkit", "pydicom", "requests", "sqlglot"}
    assert not packages & {*absent, "idc_index_data", "pyarrow.compute", "pyarrow.dataset"}


def test_a_worker_loads_what_a_worker_needs():
    code = "import sys, harvester.engine.workers.process_main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    modules = done.stdout.split()
    assert "pydicom" in modules
    absent = {"duckdb", "idc_index_data", "pandas", "pyarrow.compute", "rich", "sqlglot", "typer"}
    assert not absent.intersection(modules)
    assert len(modules) < 1000


@pytest.mark.parametrize("arguments", [[], ["--help"], ["no-such-command"], ["-v"]])
def test_without_a_command_all_are_known(arguments):
    every = typer.main.get_command(application()).commands
    assert {"crawl", "plan", "sql", "index", "header", "compact", "demo"} <= set(every)
    assert typer.main.get_command(application(arguments)).commands.keys() == every.keys()


@pytest.mark.parametrize("arguments", [["sql", "-d", "crawl"], ["--verbose", "sql"]])
def test_of_a_command_that_is_called_its_module_is_loaded_alone(arguments):
    assert list(typer.main.get_command(application(arguments)).commands) == ["sql"]


HEAVY = {"aiohttp", "anyio", "duckdb", "numpy", "pandas", "pyarrow", "pydantic", "pydicom", "sqlglot"}


def test_the_help_loads_no_command():
    packages = loaded("--help")
    assert packages & HEAVY == set()


def test_the_help_of_a_command_is_the_same_without_loading_it():
    listed = typer.main.get_command(application([])).commands
    every = typer.main.get_command(application()).commands
    assert {name: one.help for name, one in listed.items()} == {name: one.help for name, one in every.items()}


def test_objects_are_opened_without_pandas():
    code = "import sys, harvester; harvester.open_object; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert {"pandas", "duckdb"} & set(done.stdout.split()) == set()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_locale_without_a_character_ends_in_no_traceback(tmp_path, encoding):
    Dataset.create(tmp_path)

    def said(*arguments):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        return subprocess.run(
            [*COMMAND, *arguments], capture_output=True, check=False, env=environment, timeout=300
        )

    done = said("sql", "-d", tmp_path, "SELECT '\u4e2d' AS \"Größe\"")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u4e2d" in done.stdout
    failed = said("sql", "-d", tmp_path / "\u4e2d", "SELECT 1")
    assert failed.returncode == 2
    assert b"Traceback" not in failed.stderr


def test_the_locale_c_ends_in_no_traceback(tmp_path):
    strict = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for name, status in (("data", 0), ("\u4e2d", 2)):
        Dataset.create(tmp_path / name)
        done = subprocess.run(
            [*COMMAND, "sql", "-d", tmp_path / name, "SELECT 1"],
            capture_output=True,
            check=False,
            env={**os.environ, **strict},
            timeout=300,
        )
        assert (done.returncode, done.stderr.count(b"\n")) == (status, status // 2), done.stderr
