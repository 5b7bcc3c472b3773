"""How fast this machine harvests, from an earlier run's record or a short crawl of synthetic slices."""

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
from harvester.engine.estimate import Rates
from harvester.engine.run_record import RUNS
from harvester.engine.shard import CrawlProgress
from harvester.errors import DatasetError

# A shorter run measures starting rather than harvesting.
_LEAST_INSTANCES: Final = 1000
_RECORDS_READ: Final = 20
_SLICES: Final = 2800


def recorded_rates(dataset: str) -> Rates | None:
    """The rate of a dataset's last run of at least a thousand instances; None if there is none.

    Args:
        dataset: A directory or URL, which need not exist.
    """
    try:
        opened = Dataset.open(dataset)
        paths = sorted(opened.storage.list_files(RUNS), reverse=True)[:_RECORDS_READ]
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
    """Measure a crawl of synthetic CT slices from a server on this machine; takes about three seconds.

    Only the CPU time of this process counts, not the server's; neither TLS nor a network is included.

    Raises:
        DatasetError: The folder for temporary files has no room for a few megabytes.
    """
    with (
        tempfile.TemporaryDirectory(prefix="harvester-calibration-") as folder,
        synthetic_server_process(_SLICES) as address,
    ):
        catalog = Path(folder) / "catalog.parquet"
        SyntheticBucket(_SLICES).write_catalog(catalog)
        config = CrawlConfig.model_validate(
            {
                "dataset": f"{folder}/data",
                "source": {"catalog": str(catalog), "endpoint": address.endpoint},
                "limits": {"processes": 1},
            }
        )
        anyio.run(crawl, config, CrawlProgress())
        (path,) = Path(folder, "data", RUNS).iterdir()
        record = _record(path.read_bytes())
    return Rates(
        record["totals"]["instances"] / record["cpu_seconds"],
        f"measured now, on {_SLICES:,} synthetic CT slices over loopback, without TLS",
    )


def _record(content: bytes) -> dict[str, Any]:
    try:
        record = json.loads(content)
    except ValueError:
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("totals"), dict) else {}
