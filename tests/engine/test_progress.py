"""The progress of a crawl as a line, and as a bar on a terminal."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

from harvester.engine.progress import progress_line
from harvester.engine.shard import CrawlProgress


def test_a_line_has_the_total_and_the_time_left() -> None:
    progress = CrawlProgress()
    progress.instances, progress.failures, progress.skipped = 30, 10, 20
    assert progress_line(progress, 10).startswith("60 instances, 3/s")
    assert "left" not in progress_line(progress, 10)
    progress.expected_instances = 100
    line = progress_line(progress, 10)
    assert line.startswith("60 of 100 instances, 3/s")
    assert line.endswith("10 failures, 10.0 s left")


def test_the_line_of_a_compaction_counts_rows() -> None:
    progress = CrawlProgress(instances=2000, rows_compacted=1500, rows_to_compact=2000)
    assert progress_line(progress, 10) == "compacting: 1,500 of 2,000 rows"


# Draws until its input ends.
BAR = """
import sys, anyio
from harvester.engine.progress import crawl_progress
from harvester.engine.shard import CrawlProgress

async def main():
    progress = CrawlProgress()
    progress.instances, progress.expected_instances = 30, 58_784_975
    async with crawl_progress(progress):
        await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(main)
"""


def resize(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def drawn(terminal: int, enough: Callable[[str], bool] = lambda _: False) -> str:
    """What is written to a terminal, until it is enough or the program ends."""
    text = ""
    while not enough(text):
        assert select.select([terminal], [], [], 300)[0]
        try:
            text += os.read(terminal, 65536).decode()
        except OSError:  # the program has ended
            break
    return text


def lines(text: str) -> list[str]:
    """The drawings of one line, without what colours and erases."""
    return [one for one in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)) if one.strip()]


def test_a_bar_stays_on_its_line_when_the_terminal_becomes_narrower() -> None:
    terminal, ours = pty.openpty()
    resize(terminal, 100)
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    command = [sys.executable, "-c", BAR]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=ours, stderr=ours, env={**environment, "TERM": "xterm"}
    ) as process:
        os.close(ours)
        wide = drawn(terminal, lambda text: "instances" in text)
        resize(terminal, 40)
        narrow = drawn(terminal, lambda text: any(len(line) <= 40 for line in lines(text)[:-1]))
        process.stdin.close()
        rest = drawn(terminal)
    os.close(terminal)
    assert "30 of 58,784,975 instances" in wide
    assert max(map(len, lines(wide))) < 90  # a shorter line than the terminal is not broken in two
    assert "\n" not in wide + narrow
    assert {len(line) <= 40 for line in lines(narrow)[-1:] + lines(rest)} == {True}
    assert rest.endswith("\x1b[2K") or lines(rest.rpartition("\x1b[2K")[2]) == []
