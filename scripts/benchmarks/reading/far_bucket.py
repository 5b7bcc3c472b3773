"""A distant bucket: nginx behind a slow link, with counts of requests and bytes."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from crawling import child, nginx


@dataclass
class Spent:
    """Requests and bytes of a period."""

    requests: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class FarBucket:
    """The bucket's address, over the link."""

    address: str
    bucket: nginx.Bucket
    questions: IO[str]
    answers: IO[str]

    def brought(self) -> int:
        """Bytes that came over the link so far, with the heads of the responses."""
        self.questions.write("\n")
        self.questions.flush()
        return int(self.answers.readline())

    @contextlib.contextmanager
    def counted(self) -> Iterator[Spent]:
        """Count requests and bytes while the block runs."""
        spent = Spent()
        requests, brought = len(self.bucket.requests()), self.brought()
        yield spent
        spent.requests = len(self.bucket.requests()) - requests
        spent.bytes = self.brought() - brought


@contextlib.contextmanager
def far_bucket(root: Path, home: Path, seconds: float, bytes_per_second: float) -> Iterator[FarBucket]:
    """Serve a folder over a link while the block runs, both on the first core.

    Args:
        root: What is served: buckets, and objects in them.
        home: A folder for the server's own files.
        seconds: A round trip.
        bytes_per_second: The link's width; 0 is no bound.
    """
    with nginx.serving(root, home) as bucket:
        port = bucket.logging.rpartition(":")[2]
        program = str(child.HERE.parent / "reading" / "link.py")
        with subprocess.Popen(
            [sys.executable, program, port, str(seconds / 2), str(bytes_per_second)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {0}),  # noqa: PLW1509
        ) as link:
            try:
                if link.stdin is None or link.stdout is None:
                    raise RuntimeError("the link says nothing")
                address = f"http://127.0.0.1:{int(link.stdout.readline())}"
                yield FarBucket(address, bucket, link.stdin, link.stdout)
            finally:
                link.terminate()
