import subprocess
import sys

import pytest
import typer

from harvester.cli import application
from harvester.dataset import Dataset

ASKED = """
import sys
from harvester.cli import application
arguments = sys.argv[1:]
application(arguments)(arguments, standalone_mode=False)
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def loaded(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", ASKED, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stderr.split())


def test_a_query_loads_what_a_query_needs(tmp_path):
    Dataset.create(tmp_path)
    packages = loaded("sql", "-d", str(tmp_path), "SELECT count(*) FROM instances")
    assert "duckdb" in packages
    assert not packages & {"aiohttp", "anyio", "pandas", "prompt_toolkit", "jinja2"}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["no-such-command"], ["-v"]])
def test_without_a_command_all_are_known(arguments):
    every = typer.main.get_command(application()).commands
    assert {"crawl", "plan", "sql", "index", "header", "compact", "demo"} <= set(every)
    assert typer.main.get_command(application(arguments)).commands.keys() == every.keys()


@pytest.mark.parametrize("arguments", [["sql", "-d", "crawl"], ["--verbose", "sql"]])
def test_of_a_command_that_is_called_its_module_is_loaded_alone(arguments):
    assert list(typer.main.get_command(application(arguments)).commands) == ["sql"]
