"""nginx on loopback as a bucket: ranges, ETags, and a second port that logs requests."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CONFIGURATION = """
worker_processes 1; worker_rlimit_nofile 60000; daemon off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
  log_format ranges '$uri $http_range $status $body_bytes_sent';
  sendfile on; keepalive_requests 100000000; max_ranges 1; etag on;
  open_file_cache max=2000 inactive=600s; open_file_cache_valid 600s;
  client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3;
  uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  server {{ listen 127.0.0.1:{quiet} backlog=4096; root {root}; access_log off; }}
  server {{
    listen 127.0.0.1:{logging} backlog=4096; root {root}; access_log {home}/access.log ranges;
    # GCS's JSON interface, as far as google-cloud-storage needs it to read.
    location ~ ^/download/storage/v1/b/([^/]+)/o/(.+)$ {{ try_files /$1/$2 =404; }}
    location ~ ^/storage/v1/b/([^/]+)/o/(.+)$ {{
      default_type application/json; types {{ }} try_files /metadata/$1/$2.json =404;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Request:
    """One line of the server's log; `stop` is behind the last requested byte, `sent` counts body bytes."""

    path: str
    start: int
    stop: int
    sent: int


@dataclass(frozen=True)
class Bucket:
    """A running server; `quiet` and `logging` are its addresses, which serve the same files."""

    quiet: str
    logging: str
    home: Path
    master: int

    def processes(self) -> list[int]:
        """Its process IDs."""
        workers = Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()
        return [self.master, *map(int, workers)]

    def requests(self) -> list[Request]:
        """The requests to the logging address so far."""
        found = []
        for line in (self.home / "access.log").read_text().splitlines():
            path, asked, _status, sent = line.rsplit(" ", 3)
            first, _, last = asked.removeprefix("bytes=").partition("-")
            ranged = asked != "-"
            begin = int(first) if ranged else 0
            stop = int(last) + 1 if ranged and last else begin + int(sent)
            found.append(Request(path, begin, stop, int(sent)))
        return found


def is_installed() -> bool:
    """Whether nginx is installed."""
    return shutil.which("nginx") is not None


@contextlib.contextmanager
def serving(root: Path, home: Path, *, core: int | None = 0) -> Iterator[Bucket]:
    """Serve a folder from one core while the block runs.

    Args:
        root: What is served.
        home: A folder of its own, for its files.
        core: Where it runs; None is anywhere.
    """
    home.mkdir(parents=True, exist_ok=True)
    quiet, logging = _free_port(), _free_port()
    configuration = home / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(home=home, root=root, quiet=quiet, logging=logging))
    with (home / "output.txt").open("wb") as output:
        server = subprocess.Popen(
            ["nginx", "-p", str(home), "-e", str(home / "error.log"), "-c", str(configuration)],
            stdout=output,
            stderr=output,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509
        )
    try:
        _wait_for(quiet, server, home)
        yield Bucket(f"http://127.0.0.1:{quiet}", f"http://127.0.0.1:{logging}", home, server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, server: "subprocess.Popen[bytes]", home: Path) -> None:
    for _ in range(100):
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nginx does not answer: {(home / 'output.txt').read_text()[:500]}")
