import re
import subprocess
import sys

import pytest
from checkout import ROOT

PROGRAM = ROOT / "scripts" / "benchmarks" / "sql.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark asks Linux what is read")


@pytest.mark.slow
def test_a_short_run_asks_parts_compacted_parts_and_json_texts_the_same(tmp_path):
    size = ["--instances", "600", "--collections", "2", "--shard-instances", "40"]
    command = [sys.executable, str(PROGRAM), *size, "--runs", "1", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    parts, compacted = re.search(r"([0-9,]+) parts +compacted, ([0-9,]+)", done.stdout).groups()
    assert int(parts) > int(compacted) > 1
    read = dict(re.findall(r"^  (.+?) {2,}(\d+) of \d+", done.stdout, re.MULTILINE))
    assert int(read["WHERE collection_id = 'nlst'"]) < int(read["of all rows"])
    assert len(re.findall(r"[0-9.]+x$", done.stdout, re.MULTILINE)) == 2 + 7 + 7
