"""`catalog.database`: databases that print nothing."""

import subprocess
import sys

# DuckDB takes a program without a file for an interactive Python, where it prints a progress bar.
PROGRAM = """
from harvester.catalog.database import in_memory
connection = in_memory()
print(connection.execute("SELECT value FROM duckdb_settings() WHERE name = 'enable_progress_bar'").fetchone())
"""


def test_duckdb_prints_no_progress_bar_in_an_interactive_python() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True)
    assert done.stdout == "('false',)\n"
