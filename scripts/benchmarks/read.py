"""Compares clients that read the metadata and a region of a slide from a distant server."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from crawling import nginx
from reading import gap, metadata, region
from reading.far_bucket import far_bucket
from reading.measuring import NEEDED, Setting

PARTS = {"metadata": metadata.run, "region": region.run, "gap": gap.run}


def main() -> None:
    """Run the selected parts, and print what they were measured on."""
    parser = argparse.ArgumentParser(prog="scripts/bench read", description=__doc__)
    parser.add_argument("--part", choices=PARTS, help="run only this part")
    parser.add_argument("--runs", type=int, default=5, help="the medians of this number of runs are printed")
    parser.add_argument("--milliseconds", type=float, default=20.0, help="round-trip time; default: 20")
    parser.add_argument(
        "--megabytes-per-second",
        type=float,
        default=125.0,
        help="bandwidth of the link; default: 125; 0: unlimited",
    )
    parser.add_argument("--frames", type=int, help="of the slides; default: 3,000, and 12,000 for the region")
    parser.add_argument("--alone", action="store_true", help="without the other clients")
    arguments = parser.parse_args()
    if not nginx.is_installed():
        sys.exit("nginx is not installed; on Debian: apt-get install nginx-light")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    packages = ("pydicom", "highdicom", *(one for needed in NEEDED.values() for one in needed))
    print(
        f"commit {commit.stdout.strip() or 'unknown'}, Python {platform.python_version()}, {os.cpu_count()}"
        f" cores, load {os.getloadavg()[0]:.1f} before; {', '.join(map(_version, packages))}"
    )
    width = arguments.megabytes_per_second
    print(
        f"a server {arguments.milliseconds:g} ms away and back, over a link of"
        f" {f'{width:g} MB/s' if width else 'any width'}; clients on one core, server and link on another;"
        f" medians of {arguments.runs}, warm"
    )
    with tempfile.TemporaryDirectory(prefix="read-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # nginx, if started by root, reads it as an unprivileged user
        root = home / "root"
        with far_bucket(root, home / "nginx", arguments.milliseconds / 1e3, width * 1e6) as bucket:
            for name, run in PARTS.items():
                if arguments.part in (None, name):
                    run(Setting(root, bucket, arguments.runs, arguments.frames, alone=arguments.alone))


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed (scripts/environment bench does it)"


if __name__ == "__main__":
    main()
