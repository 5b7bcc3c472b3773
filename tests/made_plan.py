"""Plans of a test's series, in memory."""

from collections.abc import Iterable

from harvester.config import LimitsConfig
from harvester.engine.plan import in_order, make_shards, plan_name
from harvester.model import Plan, Series


def make_plan(series: Iterable[Series], limits: LimitsConfig | None = None) -> Plan:
    shards = tuple(make_shards(in_order(series), limits))
    return Plan(plan_name(shard.name for shard in shards), shards)
