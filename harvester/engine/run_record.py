"""The record of a run: its configuration, its totals and the telemetry of its requests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from harvester.config import CrawlConfig
from harvester.dataset import Dataset
from harvester.dataset.paths import RUNS, require_name
from harvester.engine.shard import VERSIONS
from harvester.messages import without_secrets
from harvester.store.telemetry import Telemetry

_LONGEST_LIST: Final = 20


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """A worker process that died."""

    process: int
    fate: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a crawl.

    Attributes:
        crawl: The crawl's name, which is its plan's.
        config: Its configuration.
        started_at: Start, with time zone.
        seconds: From the start to the last commit.
        processes: Number of processes.
        totals: The fields of its `CrawlResult`.
        telemetry: Requests, retries and latencies by endpoint.
        deaths: The workers that died.
        cpu_seconds: CPU time of all processes on this machine; None if workers were elsewhere.
    """

    crawl: str
    config: CrawlConfig
    started_at: datetime
    seconds: float
    processes: int
    totals: Mapping[str, Any]
    telemetry: Telemetry
    deaths: tuple[WorkerExit, ...] = ()
    cpu_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        total = self.telemetry.total
        return {
            "format": 1,
            "crawl": self.crawl,
            "started_at": self.started_at.isoformat(),
            "versions": VERSIONS,
            "configuration": _short(self.config.model_dump(mode="json", exclude_defaults=True)),
            "processes": self.processes,
            "cpu_seconds": self.cpu_seconds,
            "totals": dict(self.totals),
            "rates": self._rates(),
            "retries": dict(total.retries),
            "failed_attempts": dict(total.failures),
            "hedges": {"sent": total.hedges, "won": total.hedges_won},
            "latency_seconds": {f"p{part}": total.latency.percentile(part) for part in (50, 90, 99)},
            "concurrency": {str(second): count for second, count in sorted(total.concurrency.items())},
            "concurrency_sample_seconds": total.sample_seconds,
            "deaths": [
                {"process": death.process, "fate": death.fate, "at": death.at.isoformat()}
                for death in self.deaths
            ],
            "endpoints": self.telemetry.to_dict(),
        }

    def _rates(self) -> dict[str, float | None]:
        """Rates by second and by instance."""
        totals = self.totals
        rates: dict[str, float | None] = {
            f"{name}_per_second": totals[name] / self.seconds if self.seconds else None
            for name in ("instances", "requests", "bytes_fetched")
        }
        objects = totals["instances"]
        rates |= {
            f"{name}_per_instance": totals[name] / objects if objects else None
            for name in ("requests", "bytes_fetched")
        }
        return rates

    def save(self, dataset: Dataset) -> str:
        """Write the record into the dataset; return its path there.

        Raises:
            DatasetError: It cannot be written.
        """
        start = self.started_at.astimezone(UTC)
        path = f"{RUNS}/{start:%Y%m%dT%H%M%S.%fZ}-{require_name(self.crawl)}.json"
        with dataset.storage.write(path) as stream:
            stream.write(json.dumps(self.to_dict(), indent=1, allow_nan=False).encode() + b"\n")
        return path


def _short(value: Any) -> Any:
    """The value with each long list replaced by its length, and without secrets of addresses."""
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)) and len(value) > _LONGEST_LIST:
        return f"{len(value)} values"
    return without_secrets(value) if isinstance(value, str) else value
