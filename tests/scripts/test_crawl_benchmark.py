import re
import shutil
import subprocess
import sys

import pytest
from checkout import ROOT

PROGRAM = ROOT / "scripts" / "benchmarks" / "crawl.py"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmark chooses cores by Linux's calls"),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]


def benchmark(*arguments: str) -> str:
    command = [sys.executable, str(PROGRAM), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_short_run_prints_the_cost_of_an_instance_and_of_a_bare_loop():
    told = benchmark("--part", "cpu", "--instances", "120", "--runs", "1")

    ratios = [float(text) for text in re.findall(r"ratio ([0-9.]+);", told)]
    requests = [float(text) for text in re.findall(r"([0-9.]+) requests and", told)]
    assert len(ratios) == len(requests) == 2
    assert all(ratio > 1 for ratio in ratios)
    assert all(1 <= count < 1.2 for count in requests)
