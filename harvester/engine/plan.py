"""Groups series into shards of bounded size and names the shards and the plan."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harvester.config import LimitsConfig
from harvester.engine.estimate import MEAN_SERIES_INSTANCES, read_cost
from harvester.model import Series, SeriesOutline, Shard

T = TypeVar("T")


def in_order(series: Iterable[Series]) -> list[Series]:
    """Sort series by collection, modality and key, each key once, as `make_shards` expects them."""
    unique = {one.key: one for one in series}
    return sorted(unique.values(), key=lambda one: (one.collection_id or "", one.modality or "", one.key))


def make_shards(series: Iterable[Series], limits: LimitsConfig | None = None) -> Iterator[Shard]:
    """Group series into shards while they arrive; only one shard is held in memory.

    The series of a shard are neighbours of one collection and one modality, so that a shard writes one
    partition. A series that exceeds the bounds is a shard by itself.

    Args:
        series: The series to harvest, sorted by `in_order`.
        limits: The bounds of a shard (`shard_instances`, `shard_header_bytes`) and the read windows.
    """
    pairs = ((one.outline, one) for one in series)
    for group in _groups(pairs, limits or LimitsConfig()):
        yield shard_of(group)


def shard_of(series: Sequence[Series]) -> Shard:
    """One shard of all these series; its name is a hash of their keys."""
    return Shard(name=_name(one.key for one in series), series=tuple(series))


def plan_name(shards: Iterable[str]) -> str:
    """The name of a plan: a hash of its shards' names, in their order."""
    return _name(shards)


@dataclass(frozen=True, slots=True)
class PlanOutline:
    """The name of a plan and the number of its shards."""

    name: str
    shards: int


def outline(series: Iterable[SeriesOutline], limits: LimitsConfig | None = None) -> PlanOutline:
    """The name and size of the plan that `make_shards` would give, without holding the series.

    Args:
        series: By collection, modality and key, each key once.
        limits: As for `make_shards`.
    """
    pairs = ((one, one.key) for one in series)
    names = [_name(keys) for keys in _groups(pairs, limits or LimitsConfig())]
    return PlanOutline(plan_name(names), len(names))


def _groups(series: Iterable[tuple[SeriesOutline, T]], limits: LimitsConfig) -> Iterator[list[T]]:
    group: list[T] = []
    partition: tuple[str | None, str | None] | None = None
    instances = header_bytes = 0
    for one, item in series:
        count = MEAN_SERIES_INSTANCES if one.instance_count is None else one.instance_count
        size = read_cost(one.modality, count, one.size or 0, limits).bytes
        if group and (
            partition != (one.collection_id, one.modality)
            or instances + count > limits.shard_instances
            or header_bytes + size > limits.shard_header_bytes
        ):
            yield group
            group, instances, header_bytes = [], 0, 0
        partition = (one.collection_id, one.modality)
        group.append(item)
        instances += count
        header_bytes += size
    if group:
        yield group


def _name(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()[:16]
