"""Series into shards of bounded work, and what a header crawl of them will ask of the network."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from harvester.config import LimitsConfig
from harvester.fetch.typical_headers import OTHER_HEADER, TYPICAL_HEADER, WHOLE_OBJECT, KiB
from harvester.model import Plan, Series, SeriesOutline, Shard, Summary

INSTANCES_UNKNOWN = 56
"""Instances of a series that the catalog does not count: IDC's mean (58,784,975 in 1,044,191 series)."""

LONGEST_WINDOW = 1024 * KiB
"""Each further window of a header is twice the last one, up to this."""

KEYS_PER_LISTING = 1000
"""ListObjectsV2 and the GCS JSON API answer at most so many keys a page."""

REQUESTS_PER_SECOND = 1000.0
"""Assumed of each process, with 256 requests in flight to a bucket in the same region: cautious against
the 2,500 to 5,000 range reads a second that one core's HTTP client reaches on loopback."""

BUCKET_REQUESTS_PER_SECOND = 5000.0
"""Assumed ceiling of all processes: S3 serves about 5,500 GETs a second for a prefix, GCS starts near 5,000
reads a second for a bucket."""

BYTES_PER_SECOND = 125e6
"""Assumed of the whole machine: one gigabit a second."""


@dataclass(frozen=True, slots=True)
class ReadCost:
    """What reading the headers of one or more objects takes: requests, and bytes that they answer.

    `headers` are the bytes that are headers, and have to be parsed.
    """

    requests: int
    bytes: int
    headers: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a header crawl of a selection is expected to take; nothing was fetched to say so.

    `series`, `instances` and `object_bytes` are the catalog's own numbers. `header_bytes` is what will be
    read of them, `requests` counts range reads and listings. `seconds` follows from the assumed rates beside
    it. `uncounted` is how many series the catalog gives no instance count for, `INSTANCES_UNKNOWN` each.
    `parsing` is how many headers of a usual CT slice cost a core as much as these do.
    """

    series: int
    instances: int
    object_bytes: int
    header_bytes: int
    requests: int
    seconds: float
    requests_per_second: float
    bytes_per_second: float
    uncounted: int = 0
    parsing: float = 0.0

    @property
    def fraction(self) -> float:
        """How much of the objects' bytes is read, from 0 to 1; 0 where their size is not known."""
        return min(1.0, self.header_bytes / self.object_bytes) if self.object_bytes else 0.0


def make_plan(series: Iterable[Series], limits: LimitsConfig | None = None) -> Plan:
    """Put series into shards. Pure: the same series in any order give the same plan.

    A series that is named twice is planned once. A series larger than the bounds is a shard by itself.

    Args:
        series: What to harvest. All of it is held in memory, about 1.5 KB a series.
        limits: The bounds of a shard (`shard_instances`, `shard_header_bytes`) and the read windows.
    """
    shards = tuple(make_shards(in_order(series), limits))
    return Plan(name=plan_name(shard.name for shard in shards), shards=shards)


def in_order(series: Iterable[Series]) -> list[Series]:
    """The series by collection, modality and key, each once, as `make_shards` takes them."""
    unique = {one.key: one for one in series}
    return sorted(unique.values(), key=_place_in_order)


def plan_name(shards: Iterable[str]) -> str:
    """What a plan of these shards, in their order, is called."""
    return _name(shards)


def make_shards(series: Iterable[Series], limits: LimitsConfig | None = None) -> Iterator[Shard]:
    """Put series into shards as they come, holding no more than one shard of them.

    Only neighbours share a shard, and only of one collection and one modality: a shard then writes one
    partition. So the series have to come sorted by those; see `in_order`.

    Args:
        series: What to harvest, each once.
        limits: As for `make_plan`.
    """
    limits = limits or LimitsConfig()
    held: list[Series] = []
    filling = _Filling(limits)
    for one in series:
        count = expected_instances(one)
        if filling.begins_anew(one.collection_id, one.modality, count, one.size) and held:
            yield shard_of(held)
            held = []
        held.append(one)
    if held:
        yield shard_of(held)


@dataclass(frozen=True, slots=True)
class PlanOutline:
    """What a plan will be: its name, and how many shards it has."""

    name: str
    shards: int


def outline(series: Iterable[SeriesOutline], limits: LimitsConfig | None = None) -> PlanOutline:
    """Say what `make_plan` would make of the series, holding none of them.

    Args:
        series: By collection, modality and key, each once.
        limits: As for `make_plan`.
    """
    filling = _Filling(limits or LimitsConfig())
    name, shard, shards = hashlib.sha256(), hashlib.sha256(), 0
    for key, collection, modality, count, size in series:
        expected = INSTANCES_UNKNOWN if count is None else count
        if filling.begins_anew(collection, modality, expected, size):
            if shards:
                name.update(_short(shard).encode() + b"\n")
            shard, shards = hashlib.sha256(), shards + 1
        shard.update(key.encode("utf-8", "surrogateescape") + b"\n")
    if shards:
        name.update(_short(shard).encode() + b"\n")
    return PlanOutline(_short(name), shards)


@dataclass(slots=True)
class _Filling:
    """The shard that is being filled: how much it holds, and of which partition."""

    limits: LimitsConfig
    _partition: tuple[str | None, str | None] | None = None
    _instances: int = 0
    _header_bytes: int = 0

    def begins_anew(self, collection: str | None, modality: str | None, count: int, size: int | None) -> bool:
        """Whether a series opens a shard of its own; it is in the one that is filled now, either way."""
        weight = _cost_of(modality, count, size or 0, self.limits).bytes
        limits = self.limits
        anew = (
            self._partition != (collection, modality)
            or self._instances + count > limits.shard_instances
            or self._header_bytes + weight > limits.shard_header_bytes
        )
        if anew:
            self._partition, self._instances, self._header_bytes = (collection, modality), count, weight
        else:
            self._instances += count
            self._header_bytes += weight
        return anew


def estimate(summary: Summary, limits: LimitsConfig | None = None, *, processes: int = 1) -> Estimate:
    """Expect what a crawl will read, from the catalog's sums alone.

    Args:
        summary: The selection's counts by modality.
        limits: The windows, the bound of a header, and `requests_per_second` where it is not 0.
        processes: How many harvest at the same time.
    """
    limits = limits or LimitsConfig()
    total = summary.total
    requests = listings = read = instances = 0
    parsing = 0.0
    for modality, tally in summary.by_modality.items():
        count = tally.instances + tally.uncounted * INSTANCES_UNKNOWN
        cost = _cost_of(modality, count, tally.size, limits)
        instances += count
        requests += cost.requests
        read += cost.bytes
        parsing += max(count, cost.headers / TYPICAL_HEADER["CT"])
        listings += tally.series + count // KEYS_PER_LISTING
    rate = min(REQUESTS_PER_SECOND * max(processes, 1), BUCKET_REQUESTS_PER_SECOND)
    if limits.requests_per_second:
        rate = min(rate, limits.requests_per_second)
    return Estimate(
        series=total.series,
        instances=total.instances,
        object_bytes=total.size,
        header_bytes=read,
        requests=requests + listings,
        seconds=max((requests + listings) / rate, read / BYTES_PER_SECOND),
        requests_per_second=rate,
        bytes_per_second=BYTES_PER_SECOND,
        uncounted=total.uncounted,
        parsing=parsing,
    )


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a machine harvests.

    Attributes:
        headers_per_core_second: What one core harvests in a second, from the request to the Parquet part.
        basis: Where that is known from, for a person.
        of_selection: Whether it was measured on such objects as are planned; else on usual CT slices.
    """

    headers_per_core_second: float
    basis: str
    of_selection: bool = False


ASSUMED_RATES = Rates(REQUESTS_PER_SECOND, "assumed, not measured")


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long each of the three takes that a crawl needs at the same time; the longest binds.

    Attributes:
        cores: How many harvest.
        core_seconds: What all headers take of one core.
        service_seconds: What all requests take at the rate that a bucket, or the configuration, allows.
        network_seconds: What all bytes take on the way.
    """

    cores: int
    core_seconds: float
    service_seconds: float
    network_seconds: float

    @property
    def seconds_by_cause(self) -> dict[str, float]:
        """Seconds that each would take if it were alone."""
        return {
            "cpu": self.core_seconds / self.cores,
            "service": self.service_seconds,
            "network": self.network_seconds,
        }

    @property
    def binds(self) -> str:
        """Which of the three takes longest."""
        times = self.seconds_by_cause
        return max(times, key=lambda cause: times[cause])

    @property
    def seconds(self) -> float:
        """How long the crawl takes."""
        return max(self.seconds_by_cause.values())


def forecast(expected: Estimate, rates: Rates, cores: int, limits: LimitsConfig | None = None) -> Forecast:
    """Say what binds a crawl, and for how long.

    Args:
        expected: What it reads.
        rates: How fast this machine is.
        cores: How many of its cores harvest.
        limits: `requests_per_second`, where it is less than what a bucket serves.
    """
    asked = limits.requests_per_second if limits else 0.0
    service = min(asked or BUCKET_REQUESTS_PER_SECOND, BUCKET_REQUESTS_PER_SECOND)
    objects = expected.instances + expected.uncounted * INSTANCES_UNKNOWN
    headers = objects if rates.of_selection else expected.parsing
    return Forecast(
        cores=max(1, cores),
        core_seconds=headers / rates.headers_per_core_second,
        service_seconds=expected.requests / service,
        network_seconds=expected.header_bytes / expected.bytes_per_second,
    )


def expected_instances(series: Series) -> int:
    """How many objects a series will bring: the catalog's count, else IDC's mean."""
    if series.instance_count is not None:
        return series.instance_count
    return len(series.objects) or INSTANCES_UNKNOWN


def expected_read(series: Series, limits: LimitsConfig) -> ReadCost:
    """What reading a series' headers is expected to take."""
    count = expected_instances(series)
    return _cost_of(series.modality, count, series.size or 0, limits)


def _cost_of(modality: str | None, instances: int, size: int, limits: LimitsConfig) -> ReadCost:
    """The mean object's cost, times the objects."""
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
        requests, read, window = requests + 1, read + window, min(2 * window, LONGEST_WINDOW)
    if mean is not None:
        read = min(read, ceil(mean))  # a window ends where the object does
    return ReadCost(instances * requests, instances * read, int(instances * header))


def _place_in_order(series: Series) -> tuple[str, str, str]:
    return series.collection_id or "", series.modality or "", series.key


def shard_of(series: Sequence[Series]) -> Shard:
    """One shard of all these series, named for their keys."""
    return Shard(name=_name(one.key for one in series), series=tuple(series))


def _name(parts: Iterable[str]) -> str:
    """A short name for what is in it: the same parts in the same order, the same name."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\n")
    return _short(digest)


def _short(digest: "hashlib._Hash") -> str:
    return digest.hexdigest()[:16]
