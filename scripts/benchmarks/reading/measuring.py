"""Runs clients over some objects and prints their medians and ratios."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from crawling import child

from reading import objects
from reading.far_bucket import FarBucket, Spent

BUCKET = "bucket"
BLOB_READER, SMART_OPEN = "google-cloud-storage BlobReader", "smart_open"
OBSTORE, ASYNC_TIFF = "obstore's fsspec store", "async-tiff"
NEEDED = {
    BLOB_READER: ("google-cloud-storage",),
    SMART_OPEN: ("smart_open", "boto3"),
    OBSTORE: ("obstore",),
    ASYNC_TIFF: ("async-tiff", "obstore"),
}


@dataclass(frozen=True)
class Setting:
    """The settings of a part: the served folder, the bucket, the numbers of runs and frames, the clients."""

    root: Path
    bucket: FarBucket
    runs: int
    frames: int | None
    alone: bool = False

    def compares(self, client: str) -> bool:
        """Whether a client is selected and installed."""
        try:
            return not self.alone and all(version(package) for package in NEEDED.get(client, ()))
        except PackageNotFoundError:
            return False

    def copies(self, path: Path, count: int) -> list[str]:
        """The keys of objects with the same content; a client reads none of them twice."""
        keys = []
        for number in range(count):
            copy = path.with_name(f"{path.stem}-{number}{path.suffix}")
            os.link(path, copy)
            objects.describe_for_gcs(self.root, copy)
            keys.append(copy.name)
        return keys


@dataclass(frozen=True)
class Figures:
    """The medians of one client's reads of an object, and what it found."""

    seconds: float
    requests: float
    bytes: float
    found: frozenset[str]

    def __str__(self) -> str:
        return f"{self.seconds * 1e3:9,.0f} ms {self.requests:6.0f} requests {self.bytes:13,.0f} bytes"

    def against(self, ours: "Figures") -> str:
        """The ratios to harvester's figures."""
        faster, fewer = self.seconds / ours.seconds, self.bytes / ours.bytes
        return f"harvester {faster:.1f}x as fast, 1/{fewer:.0f} of the bytes"


def measure(setting: Setting, client: str, task: str, keys: Sequence[str]) -> Figures:
    """Read the first object to warm up, then measure each of the others."""
    program = [sys.executable, str(child.HERE.parent / "reading" / "client.py")]
    spent: list[Spent] = []
    told: list[dict[str, Any]] = []
    with subprocess.Popen(
        [*program, client, task, setting.bucket.address, BUCKET],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {1} & os.sched_getaffinity(0) or {0}),  # noqa: PLW1509
    ) as reader:
        if reader.stdin is None or reader.stdout is None:
            raise RuntimeError("the client says nothing")
        for key in keys:
            with setting.bucket.counted() as counted:
                print(key, file=reader.stdin, flush=True)
                answer = reader.stdout.readline()
            if not answer:
                raise RuntimeError(f"{client} could not read {key}")
            spent.append(counted)
            told.append(json.loads(answer))
        reader.stdin.close()
    return Figures(
        statistics.median(one["seconds"] for one in told[1:]),
        statistics.median(one.requests for one in spent[1:]),
        statistics.median(one.bytes for one in spent[1:]),
        frozenset(one["found"] for one in told),
    )
