"""A short endurance run, of synthetic objects through Dask while workers are killed; and the simulation."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from checkout import ROOT

SCRIPTS = ROOT / "scripts"


def said(*arguments: object, seconds: float) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=seconds
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def endurance(instances: int, kill_seconds: float, seconds: float) -> str:
    words = ["--instances", instances, "--kill-seconds", kill_seconds]
    return said(SCRIPTS / "endurance", *words, seconds=seconds)


def test_every_object_has_one_row_although_workers_are_killed() -> None:
    told = endurance(12_000, 60.0, 550)
    assert told.endswith("exact\n")
    assert "rows 12,000, of which different 12,000; failures 0" in told
    killed = re.search(r"(\d+) workers killed", told)
    assert killed is not None
    assert int(killed[1]) >= 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_objects_have_one_row_each_and_memory_is_constant() -> None:
    told = endurance(1_000_000, 60.0, 3500)
    assert told.endswith("exact\n")
    for early, late in re.findall(r"(\d+) MB at most in the second quarter, (\d+) MB in the last", told):
        assert int(late) < 1.25 * int(early) + 30


def test_a_simulated_crawl_prints_its_hours_and_draws_its_curve(tmp_path: Path) -> None:
    told = said(SCRIPTS / "simulate", "--shards", 4, "--picture", tmp_path / "p.svg", seconds=550)
    assert re.search(r"headers by 64 processes in \d+\.\d\d h; 0 failures", told)
    picture = ET.fromstring((tmp_path / "p.svg").read_text())
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 3
