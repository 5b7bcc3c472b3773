import re
import subprocess
import sys

import pydicom
import pytest
from checkout import ROOT
from racing.files import KINDS, series

PROGRAM = ROOT / "scripts" / "benchmarks" / "race.py"


def test_nine_kinds_of_file_are_raced():
    assert len({kind.name for kind in KINDS}) == 9


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_made_series_has_eight_files_that_differ(kind, tmp_path):
    paths = series(kind, None, tmp_path / "series")

    assert len({path.read_bytes() for path in paths}) == 8
    assert all(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID for path in paths)


def test_a_kind_is_read_by_each_installed_reader(tmp_path):
    command = [sys.executable, str(PROGRAM), "--corpus", str(tmp_path), "--kind", "SR", "--runs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr

    ahead = re.findall(r"pydicom to_json_dict .* harvester: +([0-9.]+)x as fast", done.stdout)
    assert len(ahead) == 1
    assert float(ahead[0]) > 1
