"""How fast this machine harvests, from an earlier run's record or a short crawl of synthetic slices."""

import tempfile
from pathlib import Path
from typing import Final

import anyio

from harvester.config import CrawlConfig
from harvester.dataset import Dataset
from harvester.dataset.runs import read_runs
from harvester.demo.synthetic_bucket import SyntheticBucket
from harvester.demo.synthetic_server import synthetic_server_process
from harvester.engine.crawl import crawl
from harvester.engine.estimate import Rates
from harvester.engine.shard import CrawlProgress
from harvester.errors import DatasetError, WorkerError

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
        runs = list(read_runs(Dataset.open(dataset).storage, _RECORDS_READ))
    except DatasetError:
        return None
    for path, run in runs:
        if run.cpu_seconds and run.totals.instances >= _LEAST_INSTANCES:
            basis = f"the run of {run.started_at:%Y-%m-%d}, {dataset}/{path}"
            return Rates(run.totals.instances / run.cpu_seconds, basis, of_selection=True)
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
        ((_, run),) = read_runs(Dataset.open(config.dataset).storage, 1)
    if not run.cpu_seconds:
        raise WorkerError("the trial crawl took no CPU time: this machine's clock does not count it")
    return Rates(
        run.totals.instances / run.cpu_seconds,
        f"measured now, on {_SLICES:,} synthetic CT slices over loopback, without TLS",
    )
