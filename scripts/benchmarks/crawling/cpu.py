"""What a harvested CT instance costs the client's CPU, against fetching the same ranges and dropping them."""

import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
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
    """Write sparse objects of so many made-up instances; gives their paths under the root."""
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
    """Write a crawl's configuration, for a list of these paths at that address."""
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
    """Run `harvester crawl` into an empty dataset and see that it harvested everything."""
    shutil.rmtree(configuration.parent / "dataset", ignore_errors=True)
    command = [*child.HARVESTER, "crawl", str(configuration), "--json"]
    spent = child.run(command, cores=cores, watch=watch)
    result = json.loads(spent.output)
    if result["instances"] != expected or result["failures"]:
        raise RuntimeError(f"harvested {result['instances']} of {expected}, {result['failures']} failures")
    return spent


def run(home: Path, instances: int, runs: int) -> None:
    """Print the ratio for each kind of instance."""
    print(
        f"\nCPU per instance, {instances} instances, start included;"
        f" the client on one core, nginx on another; medians of {runs}"
    )
    for name, make in ROWS.items():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        paths = make_bucket(home / "root", instances, make)
        with nginx.serving(home / "root", home / "nginx") as bucket:
            harvest(configure(home, bucket.logging, paths), (1,), instances)
            asked = bucket.requests()
            ranges = home / "ranges.txt"
            ranges.write_text(
                "".join(f"{bucket.quiet}{one.path} {one.start} {one.stop - 1}\n" for one in asked)
            )
            configuration = configure(home, bucket.quiet, paths)
            bare = [sys.executable, str(child.HERE / "bare.py"), str(ranges), str(CONCURRENCY)]
            floors, costs = [], []
            for _ in range(runs):  # interleaved: these machines drift
                floors.append(child.run(bare, cores=(1,)).cpu / instances * 1e6)
                costs.append(harvest(configuration, (1,), instances).cpu / instances * 1e6)
        shutil.rmtree(home)
        floor, cost = statistics.median(floors), statistics.median(costs)
        ratio = statistics.median(one / other for one, other in zip(costs, floors, strict=True))
        fetched = sum(one.sent for one in asked)
        print(f"  {name}")
        print(f"    {len(asked) / instances:.3f} requests and {fetched / instances:,.0f} bytes an instance")
        print(f"    bare aiohttp   {floor:7.0f} us   ({min(floors):.0f} to {max(floors):.0f})")
        print(f"    harvester      {cost:7.0f} us   ({min(costs):.0f} to {max(costs):.0f})")
        print(f"    ratio          {ratio:7.2f}")
