"""Concurrency under a limit of file descriptors, each in a process of its own."""

import subprocess
import sys

import pytest

SCRIPT = """
import logging, resource, sys
logging.basicConfig(level=logging.WARNING, format="%(message)s")
from harvester.store.descriptors import affordable_concurrency
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(affordable_concurrency(256), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "concurrency", "raised", "is_warned"),
    [
        (256, 1000, 256, 384, False),
        (256, 300, 172, 300, True),
        (64, 64, 1, 64, True),
        (900, 1000, 256, 900, False),
    ],
)
def test_the_soft_limit_is_raised_else_fewer_requests_run(soft, hard, concurrency, raised, is_warned):
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(soft), str(hard)], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [str(concurrency), str(raised)]
    assert ("raise it by ulimit -n" in run.stderr) is is_warned
