"""What docs/parser.md says is held: each row has its test, each figure its input, each bound its value."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from checkout import ROOT

from harvester.dicom import WalkLimits, budget
from harvester.dicom.columns import _DEEPEST
from harvester.dicom.limits import ColumnLimits

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


def test_the_bounds_on_the_page_are_the_program_s() -> None:
    limits = WalkLimits()
    words = " ".join(PAGE.split())
    assert f"Bounds for one header: {limits.header_bytes >> 20} MiB (`max_header_bytes`" in words
    assert f"{limits.elements:,} elements and items" in words
    assert f"sequences {limits.depth} deep" in words
    columns = ColumnLimits()
    assert f"{columns.attributes:,} different attributes" in words
    assert f"{columns.cells:,} cells" in words
    assert f"{columns.character_sets:,} different character sets" in words
    assert f"{columns.path_characters >> 20} Mi characters of paths" in words
    assert f"about {columns.work // 10**6} seconds" in words
    assert f"{columns.work // budget._ENTRY:,} private elements" in words
    assert f"{columns.work // (budget._ENTRY + budget._INVALID) // 1000 * 1000:,} invalid ones" in words
    assert f"names, dates and times ({columns.work // budget._VALUE:,})" in words
    assert f"escape sequences ({columns.work // budget._ESCAPE:,})" in words
    assert f"deeper than {_DEEPEST} levels" in words
    kept, longest = limits.kept_value >> 10, limits.longest_value >> 20
    assert f"longer than {kept} KiB, or any other longer than {longest} MiB" in words


def test_the_page_names_programs_that_are_there() -> None:
    assert "scripts/fuzz.py" in PAGE
    assert "scripts/bench hostile" in PAGE
    for script in ("scripts/fuzz.py", "scripts/benchmarks/hostile.py"):
        done = subprocess.run([sys.executable, ROOT / script, "--help"], check=False, capture_output=True)
        assert done.returncode == 0
