"""`catalog.database`: databases that print nothing."""

import subprocess
import sys

import pytest

from harvester.catalog.database import in_memory, literal

# DuckDB takes a program without a file for an interactive Python, where it prints a progress bar.
PROGRAM = """
from harvester.catalog.database import in_memory
connection = in_memory()
print(connection.execute("SELECT value FROM duckdb_settings() WHERE name = 'enable_progress_bar'").fetchone())
"""


def test_duckdb_prints_no_progress_bar_in_an_interactive_python() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True)
    assert done.stdout == "('false',)\n"


@pytest.mark.parametrize("text", ["", "it's", "C\0T", "\0", "'\0'\0"])
def test_a_literal_is_the_text_that_it_quotes(text: str) -> None:
    assert in_memory().execute(
        f"SELECT {literal(text)}, {literal(text)} IN ({literal(text)})"
    ).fetchall() == [(text, True)]
