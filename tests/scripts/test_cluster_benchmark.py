"""The benchmark of a Dask cluster beside local processes, in one short run."""

import re
import subprocess
import sys

import pytest
from checkout import ROOT

PROGRAM = ROOT / "scripts" / "benchmarks" / "cluster.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="CPU is counted by Linux's /proc")
def test_a_short_run_tells_rates_costs_and_what_the_start_takes() -> None:
    command = [sys.executable, str(PROGRAM), "--instances", "10000", "--runs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr

    figures = {
        name.strip(): (float(local.replace(",", "")), float(dask.replace(",", "")))
        for name, local, dask in re.findall(r"^  (\S.*?) +([0-9.,]+) +([0-9.,]+)$", done.stdout, re.MULTILINE)
    }
    ratios = re.search(r"dask is ([0-9.]+) times as fast .* for ([0-9.]+) times the CPU", done.stdout)
    assert ratios is not None
    rate, cost = figures["instances per second"], figures["CPU per instance, us"]
    assert float(ratios[1]) == pytest.approx(rate[1] / rate[0], rel=0.02)
    assert float(ratios[2]) == pytest.approx(cost[1] / cost[0], rel=0.02)
    # The marks lie within the run.
    for side in (0, 1):
        start, whole = figures["to the first instance, s"][side], figures["the whole program, s"][side]
        assert 0 < start < whole
        assert 0.7 * 10_000 / rate[side] < whole - start
        assert figures["... its CPU, s"][side] < figures["... and all its CPU, s"][side]
