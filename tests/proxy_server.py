"""A real proxy, tinyproxy, on loopback."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest


@dataclass(frozen=True)
class Proxy:
    """A running proxy; `log` counts its requests."""

    port: int
    log_file: Path

    def connects(self) -> int:
        """The number of opened tunnels."""
        return self.log_file.read_text().count("CONNECT ")

    def gets(self) -> int:
        """The number of forwarded requests."""
        return self.log_file.read_text().count("GET http://")


@contextmanager
def proxy(folder: Path, *lines: str) -> Iterator[Proxy]:
    """Run a proxy with further lines of configuration."""
    program = shutil.which("tinyproxy", path="/usr/bin:/usr/sbin:/usr/local/bin") or shutil.which("tinyproxy")
    if program is None:
        pytest.skip("tinyproxy is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    log = folder / "tinyproxy.log"
    configuration = folder / "tinyproxy.conf"
    settings = (
        f"Port {port}",
        "Listen 127.0.0.1",
        "Timeout 60",
        f'LogFile "{log}"',
        "LogLevel Connect",
        *lines,
    )
    configuration.write_text("".join(f"{line}\n" for line in settings))
    process = subprocess.Popen([program, "-d", "-c", str(configuration)], stdout=subprocess.DEVNULL)
    try:
        anyio.run(_wait_for, port)
        yield Proxy(port, log)
    finally:
        process.terminate()
        process.wait()


async def _wait_for(port: int) -> None:
    with anyio.fail_after(60):
        while True:
            try:
                stream = await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                await anyio.sleep(0.05)
            else:
                await stream.aclose()
                return
