"""Resident memory of a crawl's processes as the number of harvested objects grows."""

import itertools
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from crawling import nginx
from crawling.computed_tomography import made_series
from crawling.cpu import configure, harvest, make_bucket

MARKS = (10_000, 50_000, 100_000, 200_000)
MOST_MEGABYTES = 300


@dataclass
class Watch:
    """Samples the memory of a process and its children, with the number of requests at that time."""

    bucket: nginx.Bucket
    peaks: dict[int, float] = field(default_factory=dict)  # MB by process
    samples: list[tuple[int, float]] = field(default_factory=list)  # requests so far; the largest process now
    _log_read: int = 0
    _requests: int = 0

    def __call__(self, process: int) -> None:
        """Take one sample."""
        with (self.bucket.home / "access.log").open("rb") as log:
            log.seek(self._log_read)
            new = log.read()
        self._log_read += len(new)
        self._requests += new.count(b"\n")
        now = 0.0
        for one in (process, *_children(process)):
            memory = _memory(one)
            if memory is not None:
                self.peaks[one] = max(memory[1], self.peaks.get(one, 0.0))
                now = max(now, memory[0])
        self.samples.append((self._requests, now))

    def largest_until(self, requests: int) -> float:
        """The memory of the largest process up to a number of requests."""
        return max((now for count, now in self.samples if count <= requests), default=0.0)


def run(home: Path, instances: int) -> None:
    """Print the memory during a crawl, for one process and for two."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    paths = make_bucket(home / "root", instances, made_series)
    print(f"\nMemory, {instances} CT instances; MB of the largest process so far")
    for processes in (1, 2):
        with nginx.serving(home / "root", home / "nginx") as bucket:
            watch = Watch(bucket)
            configuration = configure(home, bucket.logging, paths, processes=processes)
            harvest(configuration, None, instances, watch=watch)
        marks = sorted({mark for mark in MARKS if mark <= instances} | {instances})
        told = "  ".join(f"{mark:,}: {watch.largest_until(mark):.0f}" for mark in marks)
        peak = max(watch.peaks.values())
        print(f"  processes = {processes}   {told}   peak of each: {_listed(watch.peaks)}")
        print(f"      {'below' if peak < MOST_MEGABYTES else 'NOT below'} {MOST_MEGABYTES} MB")
        (home / "nginx" / "access.log").unlink()
    shutil.rmtree(home)


def _listed(peaks: dict[int, float]) -> str:
    return ", ".join(f"{peak:.0f}" for peak in sorted(peaks.values(), reverse=True))


def _children(process: int) -> list[int]:
    try:
        own = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return list(itertools.chain.from_iterable((int(one), *_children(int(one))) for one in own))


def _memory(process: int) -> tuple[float, float] | None:
    """Resident memory now and its peak, in MB; None if the process is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    found = dict(line.split(":", 1) for line in lines if line.startswith(("VmRSS", "VmHWM")))
    if len(found) < 2:
        return None
    now, most = (int(found[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return now, most
