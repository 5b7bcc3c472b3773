"""The client's CPU time per harvested CT instance, compared with fetching and discarding the same ranges."""

import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crawling import child, nginx
from crawling.computed_tomography import OBJECT_BYTES, made_series, series_like_ct_small

SERIES = (100, 117, 134, 150)  # instances
CONCURRENCY = 128
ROWS: dict[str, Callable[[int, int], Iterator[bytes]]] = {
    "CT as in IDC": made_series,
    "CT_small.dcm of pydicom (156 private elements)": series_like_ct_small,
}


def make_bucket(root: Path, count: int, make: Callable[[int, int], Iterator[bytes]]) -> list[str]:
    """Write sparse objects of `count` synthetic instances; return their paths under the root."""
    paths: list[str] = []
    while len(paths) < count:
        number = len(paths)
        folder = root / "bucket" / f"series-{number:07}"
        folder.mkdir(parents=True)
        wanted = min(SERIES[number % len(SERIES)], count - len(paths))
        for index, head in enumerate(make(number, wanted)):
            path = folder / f"{index:04}.dcm"
            with path.open("wb") as stream:
                stream.write(head)
                stream.truncate(OBJECT_BYTES)
            paths.append(f"/bucket/{folder.name}/{path.name}")
    return paths


def configure(home: Path, address: str, paths: list[str], *, processes: int = 1) -> Path:
    """Write a crawl's configuration for these paths at an address."""
    urls = home / "urls.txt"
    urls.write_text("".join(f"{address}{path}\n" for path in paths))
    configuration = home / "crawl.toml"
    configuration.write_text(
        f'dataset = "{home}/dataset"\n[source]\ncatalog = "listing"\n[select]\nurls = "{urls}"\n'
        f"[limits]\nprocesses = {processes}\nconcurrency = {CONCURRENCY}\n"
    )
    return configuration


def harvest(
    configuration: Path,
    cores: tuple[int, ...] | None,
    expected: int,
    *,
    watch: Callable[[int], None] | None = None,
) -> child.Spent:
    """Run `harvester crawl` into an empty dataset and check that it harvested everything."""
    shutil.rmtree(configuration.parent / "dataset", ignore_errors=True)
    command = [*child.HARVESTER, "crawl", str(configuration), "--json"]
    spent = child.run(command, cores=cores, watch=watch)
    result = json.loads(spent.output)
    if result["instances"] != expected or result["failures"]:
        raise RuntimeError(f"harvested {result['instances']} of {expected}, {result['failures']} failures")
    return spent


@dataclass(frozen=True)
class Costs:
    """CPU seconds of the bare loop and of harvester in each run."""

    bare: list[float]
    harvester: list[float]

    def median(self) -> tuple[float, float]:
        """The medians of both."""
        return statistics.median(self.bare), statistics.median(self.harvester)


def run(home: Path, instances: int, runs: int) -> None:
    """Print the ratio for each kind of instance."""
    print(
        f"\nCPU per instance, {instances} instances;"
        f" the client on one core, nginx on another; medians of {runs}"
    )
    for name, make in ROWS.items():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        paths = make_bucket(home / "root", instances, make)
        with nginx.serving(home / "root", home / "nginx") as bucket:
            harvest(configure(home, bucket.logging, paths), (1,), instances)
            asked = bucket.requests()
            start = _measured(home, bucket, paths[:1], asked[:1], runs)
            whole = _measured(home, bucket, paths, asked, runs)
        shutil.rmtree(home)
        fetched = sum(one.sent for one in asked)
        print(f"  {name}")
        print(f"    {len(asked) / instances:.3f} requests and {fetched / instances:,.0f} bytes per instance")
        for who, one, all_of_them in (
            ("bare aiohttp", start.bare, whole.bare),
            ("harvester", start.harvester, whole.harvester),
        ):
            print(
                f"    {who:14} {statistics.median(all_of_them) / instances * 1e6:6.0f} us"
                f"   ({min(all_of_them) / instances * 1e6:.0f} to {max(all_of_them) / instances * 1e6:.0f});"
                f" start {statistics.median(one):.2f} s in total"
            )
        ratios = [ours / bare for ours, bare in zip(whole.harvester, whole.bare, strict=True)]
        bare, ours = (one - other for one, other in zip(whole.median(), start.median(), strict=True))
        print(f"    ratio {statistics.median(ratios):.2f}; without the start of both {ours / bare:.2f}")


def _measured(
    home: Path, bucket: nginx.Bucket, paths: list[str], asked: list[nginx.Request], runs: int
) -> Costs:
    """Harvest these objects, and fetch the same ranges; interleaved, because load varies."""
    ranges = home / "ranges.txt"
    ranges.write_text("".join(f"{bucket.quiet}{one.path} {one.start} {one.stop - 1}\n" for one in asked))
    bare = [sys.executable, str(child.HERE / "bare.py"), str(ranges), str(CONCURRENCY)]
    configuration = configure(home, bucket.quiet, paths)
    costs = Costs([], [])
    for _ in range(runs):
        costs.bare.append(child.run(bare, cores=(1,)).cpu)
        costs.harvester.append(harvest(configuration, (1,), len(paths)).cpu)
    return costs
