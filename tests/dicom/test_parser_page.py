"""What docs/parser.md says is held: each row has its test, each figure its input, each bound its value."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from checkout import ROOT

from harvester.dicom import header_limits

PAGE = (ROOT / "docs" / "parser.md").read_text(encoding="utf-8")
DIFFERENCES = ROOT / "tests" / "dicom" / "test_differences.py"


def names_of_tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        one.name for one in tree.body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    }


def test_each_difference_to_pydicom_names_a_test_and_each_test_stands_there() -> None:
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert len(named) == len(set(named))
    assert set(named) == names_of_tests(DIFFERENCES)


def test_each_hostile_input_of_the_benchmark_has_its_figures() -> None:
    source = (ROOT / "scripts" / "benchmarks" / "hostile.py").read_text(encoding="utf-8")
    functions = [one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef)]
    inputs = [one for one in functions if "Iterator" in ast.unparse(one.returns or ast.Constant(None))]
    described = {(ast.get_docstring(one) or "").rstrip(".") for one in inputs}
    section = PAGE.split("| hostile input |", 1)[1]
    assert set(re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)) >= described
    assert len(described) > 10


def test_the_bounds_on_the_page_are_those_of_the_code() -> None:
    words = " ".join(PAGE.split())
    assert f"Bounds for one header: {header_limits.MAX_HEADER_BYTES >> 20} MiB (`max_header_bytes`" in words
    assert f"{header_limits.MAX_ELEMENTS:,} elements and items" in words
    assert f"sequences {header_limits.MAX_DEPTH} deep" in words
    assert f"{header_limits.MAX_ATTRIBUTES:,} different attributes" in words
    assert f"{header_limits.MAX_CELLS:,} cells" in words
    assert f"{header_limits.MAX_CHARACTER_SETS:,} different character sets" in words
    assert f"{header_limits.MAX_PATH_CHARACTERS >> 20} Mi characters of paths" in words
    work = header_limits.MAX_WORK
    assert f"about {work // 10**6} seconds" in words
    assert f"{work // header_limits.ENTRY_WORK:,} private elements" in words
    assert (
        f"{work // (header_limits.ENTRY_WORK + header_limits.INVALID_WORK) // 1000 * 1000:,} invalid ones"
        in words
    )
    assert f"names, dates and times ({work // header_limits.VALUE_WORK:,})" in words
    assert f"escape sequences ({work // header_limits.ESCAPE_WORK:,})" in words
    assert f"deeper than {header_limits.MAX_COLUMN_DEPTH} levels" in words
    binary, value = header_limits.MAX_KEPT_BINARY >> 10, header_limits.MAX_KEPT_VALUE >> 20
    assert f"longer than {binary} KiB, or any other longer than {value} MiB" in words


def test_the_page_names_programs_that_are_there() -> None:
    assert "scripts/fuzz.py" in PAGE
    assert "scripts/bench hostile" in PAGE
    for script in ("scripts/fuzz.py", "scripts/benchmarks/hostile.py"):
        done = subprocess.run([sys.executable, ROOT / script, "--help"], check=False, capture_output=True)
        assert done.returncode == 0
