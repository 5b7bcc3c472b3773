"""Hostile headers: their outcome, the element headers read, and memory.

The same inputs in full size, with seconds: `scripts/bench hostile`; its table stands in docs/parser.md.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

SCRIPT = ROOT / "scripts" / "benchmarks" / "hostile.py"
MB = 1_000_000
# The outcome, the number of element and item headers read, and peak memory. Both
# are for a twentieth of those inputs that are made of many equal parts, and all of it for the others.
BOUNDS = {
    "lying_length": ("TruncatedError", 3, 20),
    "lying_text": ("TruncatedError", 3, 20),
    "deep_nesting": ("HeaderLimitError: sequences nested more than 64 deep", 200, 20),
    "deflated_bomb": ("HeaderLimitError: the deflated data set inflates beyond the limit", 3, 40),
    "deflated_nothing": ("HeaderLimitError: the deflated data set is longer than the limit", 3, 40),
    "empty_items": ("rows", 50_010, 100),
    "small_items": ("rows", 50_010, 100),
    "private_elements": ("rows", 50_010, 170),
    "unknown_tags": ("rows", 25_100, 150),
    "unknown_public_tags": ("rows", 25_010, 150),
    "different_attributes": ("HeaderLimitError: more than 5000 different attributes", 202_010, 200),
    "overlapping_items": ("rows", 10, 70),
    "long_paths": ("HeaderLimitError: the paths of nested", 200_200, 300),
    "long_header": ("HeaderLimitError: the header is longer than 67108864 bytes", 100, 160),
    "long_numbers": ("rows", 70, 200),
    "escapes": ("rows", 10, 100),
    "repeated_tags": ("rows", 25_010, 120),
    "lut_data": ("rows", 10_010, 120),
    "sparse_items": ("rows", 120_010, 400),
    "empty_sequences": ("rows", 122_500, 170),
    "uneven_nesting": ("rows", 120_500, 150),
    "private_sequences": ("rows", 71_410, 150),
    "invalid_values": ("rows", 50_010, 140),
    "small_names": ("rows", 120_010, 140),
    "names": ("rows", 10, 130),
    "timestamps": ("rows", 10, 100),
    "decimals": ("rows", 10, 120),
    "numbers": ("rows", 10, 140),
    "known_escapes": ("rows", 45_010, 110),
    "character_sets": ("HeaderLimitError: more than 1000 different", 15_010, 80),
}


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """What the benchmark prints of each case."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("memory is measured with Linux's /proc")
    command = [sys.executable, SCRIPT, "--json", "--scale", "0.05"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {case["case"]: case for case in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("case", BOUNDS)
def test_hostile_headers_cost_no_more_than_this(results: dict[str, dict[str, Any]], case: str) -> None:
    found = results[case]
    outcome, headers_read, memory = BOUNDS[case]
    assert found["outcome"].startswith(outcome)
    assert found["headers_read"] <= headers_read
    assert found["memory_bytes"] <= memory * MB
    assert found["columns_left"] <= 10_000


def test_every_hostile_input_of_the_benchmark_has_its_bounds(results: dict[str, dict[str, Any]]) -> None:
    assert set(results) == set(BOUNDS)
