"""Estimates the requests, bytes and time of a crawl from the catalog's counts alone."""

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from harvester.config import LONGEST_WINDOW_BYTES, LimitsConfig
from harvester.fetch.typical_headers import OTHER_HEADER, TYPICAL_HEADER, WHOLE_OBJECT
from harvester.model import Summary
from harvester.store.http.urls import PAGE_KEYS

MEAN_SERIES_INSTANCES = 56
"""Assumed instances of a series without a count: IDC's mean (58,784,975 in 1,044,191 series)."""

CORE_HEADERS_PER_SECOND = 1000.0
"""Assumed of a core that was not measured: cautious against the 2,500 to 5,000 range reads a second that
one core's HTTP client reaches on loopback."""

BUCKET_REQUESTS_PER_SECOND = 5000.0
"""Assumed ceiling of all processes: S3 serves about 5,500 GETs a second for a prefix, GCS starts near 5,000
reads a second for a bucket."""

BYTES_PER_SECOND = 125e6
"""Assumed of the machine's network: one gigabit a second."""


class ReadCost(NamedTuple):
    """Requests and bytes to read the headers of some objects; `headers` are the bytes to parse."""

    requests: int
    bytes: int
    headers: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a crawl of a selection is expected to read; computed without a request.

    Attributes:
        series: Series in the catalog.
        instances: Instances that the catalog counts.
        object_bytes: Size of all objects, as the catalog gives it.
        header_bytes: Bytes to read.
        requests: Range requests and listings.
        requests_per_second: The highest rate that a bucket, or the configuration, allows.
        bytes_per_second: The assumed rate of the network.
        uncounted: Series without an instance count, taken as `MEAN_SERIES_INSTANCES` each.
        parsing: CPU cost of the headers, as a number of typical CT headers.
    """

    series: int
    instances: int
    object_bytes: int
    header_bytes: int
    requests: int
    requests_per_second: float
    bytes_per_second: float
    uncounted: int = 0
    parsing: float = 0.0

    @property
    def fraction(self) -> float:
        """Share of the objects' bytes to be read, from 0 to 1; 0 where their size is unknown."""
        return min(1.0, self.header_bytes / self.object_bytes) if self.object_bytes else 0.0


def estimate(summary: Summary, limits: LimitsConfig | None = None) -> Estimate:
    """Estimate what a crawl will read from the catalog's sums.

    Args:
        summary: The selection's counts by modality.
        limits: The read windows, the largest header, and `requests_per_second` if it is not 0.
    """
    limits = limits or LimitsConfig()
    total = summary.total
    requests = read = 0
    parsing = 0.0
    for modality, group in summary.by_modality.items():
        count = group.instances + group.uncounted * MEAN_SERIES_INSTANCES
        cost = read_cost(modality, count, group.size, limits)
        requests += cost.requests + group.series + count // PAGE_KEYS
        read += cost.bytes
        parsing += max(count, cost.headers / TYPICAL_HEADER["CT"])
    return Estimate(
        series=total.series,
        instances=total.instances,
        object_bytes=total.size,
        header_bytes=read,
        requests=requests,
        requests_per_second=min(
            limits.requests_per_second or BUCKET_REQUESTS_PER_SECOND, BUCKET_REQUESTS_PER_SECOND
        ),
        bytes_per_second=BYTES_PER_SECOND,
        uncounted=total.uncounted,
        parsing=parsing,
    )


def read_cost(modality: str | None, instances: int, size: int, limits: LimitsConfig) -> ReadCost:
    """Expected cost of the headers of objects of one modality: the mean object's, times their number.

    Args:
        modality: Selects the typical header length.
        instances: Number of objects.
        size: Their total size in bytes; 0 if unknown.
        limits: The read windows and the largest header.
    """
    if not instances:
        return ReadCost(0, 0)
    mean = size / instances if size else None
    if modality in WHOLE_OBJECT and mean is not None:
        header = mean
    else:
        header = float(TYPICAL_HEADER.get(modality or "", OTHER_HEADER))
    if mean is not None:
        header = min(header, mean)
    header = min(header, limits.max_header_bytes)
    requests, read, window = 1, limits.first_window_bytes, limits.read_ahead_bytes
    while read < header:
        requests, read, window = requests + 1, read + window, min(2 * window, LONGEST_WINDOW_BYTES)
    if mean is not None:
        read = min(read, ceil(mean))  # no window reaches behind the object
    return ReadCost(instances * requests, instances * read, int(instances * header))


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a machine harvests.

    Attributes:
        headers_per_core_second: Headers a second on one core, from the request to the Parquet part.
        basis: Where the number comes from, as text.
        of_selection: Whether it was measured on the planned kind of objects; else on typical CT slices.
    """

    headers_per_core_second: float
    basis: str
    of_selection: bool = False


ASSUMED_RATES = Rates(CORE_HEADERS_PER_SECOND, "assumed, not measured")


@dataclass(frozen=True, slots=True)
class Forecast:
    """The time a crawl needs for each of its three resources, used in parallel; the longest decides.

    Attributes:
        cores: Cores that harvest.
        core_seconds: CPU time of all headers, on one core.
        service_seconds: Time of all requests at the highest allowed rate.
        network_seconds: Transfer time of all bytes.
    """

    cores: int
    core_seconds: float
    service_seconds: float
    network_seconds: float

    @property
    def seconds_by_cause(self) -> dict[str, float]:
        """Seconds by resource."""
        return {
            "cpu": self.core_seconds / self.cores,
            "service": self.service_seconds,
            "network": self.network_seconds,
        }

    @property
    def binds(self) -> str:
        """The resource that takes longest."""
        times = self.seconds_by_cause
        return max(times, key=lambda cause: times[cause])

    @property
    def seconds(self) -> float:
        """Duration of the crawl."""
        return max(self.seconds_by_cause.values())


def forecast(expected: Estimate, rates: Rates, cores: int) -> Forecast:
    """Forecast how long a crawl takes, and which resource limits it.

    Args:
        expected: What it reads.
        rates: How fast this machine is.
        cores: How many of its cores harvest.
    """
    objects = expected.instances + expected.uncounted * MEAN_SERIES_INSTANCES
    headers = objects if rates.of_selection else expected.parsing
    return Forecast(
        cores=max(1, cores),
        core_seconds=headers / rates.headers_per_core_second,
        service_seconds=expected.requests / expected.requests_per_second,
        network_seconds=expected.header_bytes / expected.bytes_per_second,
    )
