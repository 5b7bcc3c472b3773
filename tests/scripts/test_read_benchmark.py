import re
import shutil
import subprocess
import sys

import pytest
from checkout import ROOT

PROGRAM = ROOT / "scripts" / "benchmarks" / "read.py"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmark chooses cores by Linux's calls"),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]


def benchmark(*arguments: str) -> str:
    command = [sys.executable, str(PROGRAM), "--runs", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def figures(told: str, client: str) -> list[tuple[float, ...]]:
    """Milliseconds, requests and bytes of a client, in each comparison."""
    found = re.findall(rf"^  {client} +([\d,]+) ms +(\d+) requests +([\d,]+) bytes", told, re.MULTILINE)
    return [tuple(float(text.replace(",", "")) for text in one) for one in found]


def test_a_short_run_prints_the_first_and_the_later_reads_of_a_region():
    told = benchmark("--part", "region", "--frames", "100", "--alone")
    (size,) = re.findall(r"100 frames, (\d+) MB", told)
    ((slow, _, all_bytes),) = figures(told, "harvester, the first time")
    ((fast, requests, few_bytes),) = figures(told, "harvester, after the first time")
    assert all_bytes > int(size) * 1e6 * 0.9
    assert few_bytes < all_bytes / 5
    assert requests == 4
    assert slow > fast > 20  # a round trip at least


@pytest.mark.slow
def test_a_short_run_tells_what_metadata_takes():
    told = benchmark("--part", "metadata", "--frames", "60", "--milliseconds", "5")
    of_slide, of_segmentation = figures(told, "harvester")
    assert of_slide[1] == of_segmentation[1] == 1
    for client in ("google-cloud-storage BlobReader", "smart_open"):
        for ours, theirs in zip((of_slide, of_segmentation), figures(told, client), strict=False):
            assert ours[0] < theirs[0]
            assert ours[2] < theirs[2]
