"""How fast this machine harvests: an earlier run's record tells, or a short crawl of synthetic slices."""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import anyio

from harvester.config import CrawlConfig
from harvester.dataset import Dataset
from harvester.demo.synthetic_bucket import SyntheticBucket
from harvester.demo.synthetic_server import synthetic_server_process
from harvester.engine.crawl import crawl
from harvester.engine.plan import Rates
from harvester.engine.run_record import RUNS
from harvester.engine.shard import Progress
from harvester.errors import DatasetError

# Fewer say more of starting than of harvesting.
_LEAST_INSTANCES: Final = 1000
_LOOKED_AT: Final = 20
_MADE: Final = 2800


def recorded_rates(dataset: str) -> Rates | None:
    """What the last run that harvested a thousand instances or more into a dataset tells; None without one.

    Args:
        dataset: A directory or an address. One that is not there, or cannot be read, tells nothing.
    """
    try:
        opened = Dataset.open(dataset)
        paths = sorted(opened.storage.list_files(RUNS), reverse=True)[:_LOOKED_AT]
        records = [(path, _record(opened.storage.read(path))) for path in paths]
    except DatasetError:
        return None
    for path, record in records:
        cpu, instances = record.get("cpu_seconds"), record.get("totals", {}).get("instances")
        if (
            isinstance(cpu, int | float)
            and isinstance(instances, int)
            and instances >= _LEAST_INSTANCES
            and cpu
        ):
            basis = f"the run of {str(record.get('started_at'))[:10]}, {dataset}/{path}"
            return Rates(instances / cpu, basis, of_selection=True)
    return None


def measured_rates() -> Rates:
    """Crawl some synthetic CT slices from a server on this machine; takes about three seconds.

    What counts is the CPU time of this process, not the server's. Neither TLS nor a network is in it.

    Raises:
        DatasetError: There is no room for a dataset of a few megabytes in the folder for temporary files.
    """
    with (
        tempfile.TemporaryDirectory(prefix="harvester-calibration-") as folder,
        synthetic_server_process(_MADE) as address,
    ):
        catalog = Path(folder) / "catalog.parquet"
        SyntheticBucket(_MADE).write_catalog(catalog)
        config = CrawlConfig.model_validate(
            {
                "dataset": f"{folder}/data",
                "source": {"catalog": str(catalog), "endpoint": address.endpoint},
                "limits": {"processes": 1},
            }
        )
        anyio.run(crawl, config, Progress())
        (path,) = Path(folder, "data", RUNS).iterdir()
        record = _record(path.read_bytes())
    return Rates(
        record["totals"]["instances"] / record["cpu_seconds"],
        f"measured now, on {_MADE:,} synthetic CT slices over loopback, without TLS",
    )


def _record(content: bytes) -> dict[str, Any]:
    try:
        record = json.loads(content)
    except ValueError:
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("totals"), dict) else {}
