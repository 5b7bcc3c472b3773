"""Crawling: harvester compared with a bare HTTP loop and usual clients; two processes with one; memory."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from crawling import cpu, idioms, memory, nginx, processes

PARTS = ("cpu", "idioms", "processes", "memory")


def main() -> None:
    """Run the selected parts, and print what they were measured on."""
    parser = argparse.ArgumentParser(prog="scripts/bench crawl", description=__doc__)
    parser.add_argument("--part", choices=PARTS, help="run only this part")
    parser.add_argument(
        "--instances", type=int, help="number of objects; default: 20,000, 8,000, 120,000 or 200,000"
    )
    parser.add_argument("--runs", type=int, default=5, help="the medians of this number of runs are printed")
    arguments = parser.parse_args()
    wanted = PARTS if arguments.part is None else (arguments.part,)
    if not nginx.is_installed():
        sys.exit("nginx is not installed; on Debian: apt-get install nginx-light")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    load = os.getloadavg()[0]
    print(
        f"commit {commit.stdout.strip() or 'unknown'}, Python {platform.python_version()}, aiohttp"
        f" {version('aiohttp')}, pydicom {version('pydicom')}, {os.cpu_count()} cores, load {load:.1f} before"
    )
    with tempfile.TemporaryDirectory(prefix="crawl-benchmark-") as folder:
        home, count, runs = Path(folder), arguments.instances, arguments.runs
        home.chmod(0o755)  # nginx, if started by root, reads it as an unprivileged user
        # Modules are compiled once, as usual, but not into the source tree.
        os.environ["PYTHONPYCACHEPREFIX"] = str(home / "compiled")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        if "cpu" in wanted:
            cpu.run(home / "cpu", count or 20_000, runs)
        if "idioms" in wanted and idioms.are_installed():
            idioms.run(home / "idioms", count or 8_000, runs)
        elif "idioms" in wanted:
            print("\nthe usual clients are not installed: run scripts/environment bench, or --part idioms")
        if "processes" in wanted:
            processes.run(home / "processes", count or 120_000, runs)
        if "memory" in wanted:
            memory.run(home / "memory", count or 200_000)


if __name__ == "__main__":
    main()
