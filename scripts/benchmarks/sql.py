"""SQL: a dataset of millions of rows, before and after compaction, and beside headers as JSON text."""

import argparse
import os
import platform
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

from asking.json_text import ask_texts, write_texts
from asking.parts import ask_both, compact_copy, show_pruning
from making.dataset import make_dataset

PARTS = ("make", "compact", "ask", "texts", "json")


def main() -> None:
    """Run the parts that were asked for, and say what they were measured on."""
    parser = argparse.ArgumentParser(prog="scripts/bench sql", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this one; else all")
    parser.add_argument("--instances", type=int, default=10_000_000)
    parser.add_argument("--collections", type=int, help="number of collections; default: all")
    parser.add_argument("--shard-instances", type=int, default=2000, help="the most that a part holds")
    parser.add_argument("--folder", type=Path, help="where datasets are made, kept, and found again")
    parser.add_argument("--runs", type=int, default=5, help="the medians of this number of runs are printed")
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(
        f"commit {commit.stdout.strip() or 'unknown'}, Python {platform.python_version()},"
        f" DuckDB {version('duckdb')}, pyarrow {version('pyarrow')}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f} before"
    )
    with tempfile.TemporaryDirectory(prefix="sql-benchmark-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run(folder, arguments, arguments.part or PARTS)


def run(folder: Path, arguments: argparse.Namespace, wanted: tuple[str, ...]) -> None:
    """The wanted parts; what a part needs and is not there is made first."""
    parts, compacted, texts = folder / "parts", folder / "compacted", folder / "texts"
    if not parts.exists():
        made = make_dataset(
            parts,
            arguments.instances,
            collections=arguments.collections,
            shard_instances=arguments.shard_instances,
        )
        print(f"made {made.instances:,} instances in {made.parts:,} parts")
    if set(wanted) - {"make"} and not compacted.exists():
        compact_copy(parts, compacted)
    if "texts" in wanted:
        write_texts(compacted, texts)
    if "ask" in wanted:
        ask_both(parts, compacted, arguments.runs)
        show_pruning(compacted)
    if "json" in wanted:
        ask_texts(compacted, texts, arguments.runs)


if __name__ == "__main__":
    main()
