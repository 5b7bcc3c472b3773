"""Series into shards, and what a header crawl is expected to read."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_plan import make_plan

from harvester.config import LimitsConfig
from harvester.engine.estimate import (
    ASSUMED_RATES,
    MEAN_SERIES_INSTANCES,
    ReadCost,
    estimate,
    forecast,
    read_cost,
)
from harvester.engine.plan import PlanOutline, in_order, make_shards, outline
from harvester.model import ListedObject, ObjectRef, Series, SeriesTotals, Summary

LIMITS = LimitsConfig(shard_instances=100, shard_header_bytes=4 * 1024 * 1024)


def some(count: int, collection: str = "c", modality: str = "CT", instances: int = 30) -> list[Series]:
    return [
        Series(
            key=f"{collection}-{modality}-{number:05}",
            collection_id=collection,
            modality=modality,
            instance_count=instances,
            size=instances * 500_000,
        )
        for number in range(count)
    ]


series_lists = st.lists(
    st.builds(
        Series,
        key=st.text(min_size=1, max_size=6),
        collection_id=st.sampled_from(["a", "b", None]),
        modality=st.sampled_from(["CT", "SEG", "SR", "XX", None]),
        instance_count=st.none() | st.integers(0, 500),
        size=st.none() | st.integers(0, 10**10),
    ),
    unique_by=lambda series: series.key,
    max_size=40,
)


@given(series_lists, st.randoms())
def test_the_same_series_give_the_same_plan_in_any_order(series: list[Series], chance: random.Random):
    plan = make_plan(series, LIMITS)
    chance.shuffle(series)
    assert make_plan(series, LIMITS) == plan


@given(series_lists)
def test_every_series_is_in_one_shard_of_its_own_partition_and_within_bounds(series: list[Series]):
    shards = make_plan(series, LIMITS).shards
    assert sorted(one.key for shard in shards for one in shard.series) == sorted(one.key for one in series)
    assert len({shard.name for shard in shards}) == len(shards)
    for shard in shards:
        assert len({(one.collection_id, one.modality) for one in shard.series}) == 1
        instances = sum(
            MEAN_SERIES_INSTANCES if one.instance_count is None else one.instance_count
            for one in shard.series
        )
        weight = sum(expected_read(one, LIMITS).bytes for one in shard.series)
        assert len(shard.series) == 1 or (instances <= 100 and weight <= LIMITS.shard_header_bytes)


def test_neighbours_share_a_shard_up_to_its_instances():
    assert [len(shard.series) for shard in make_plan(some(7), LIMITS).shards] == [3, 3, 1]


def test_heavy_headers_fill_a_shard_sooner():
    slices, segmentations = (
        make_plan(some(60, modality=modality, instances=1), LIMITS) for modality in ("CT", "SEG")
    )
    assert len(slices.shards) == 1
    assert len(segmentations.shards) > 3


def test_a_shard_is_named_by_its_series_keys_and_nothing_else():
    (shard,) = make_plan(some(2), LIMITS).shards
    (grown,) = make_plan(some(2, instances=31), LIMITS).shards
    (fewer,) = make_plan(some(1), LIMITS).shards
    assert shard.name == grown.name != fewer.name
    assert shard.name == hashlib.sha256(b"c-CT-00000\nc-CT-00001\n").hexdigest()[:16]


def test_a_series_named_twice_is_planned_once():
    assert make_plan([*some(3), *some(2)], LIMITS) == make_plan(some(3), LIMITS)


def test_shards_stream_from_sorted_series_as_they_fill():
    endless = (series for number in range(10**9) for series in some(1, collection=f"{number:09}"))
    shards = make_shards(endless, LIMITS)
    assert [next(shards).series[0].collection_id for _ in range(3)] == ["000000000", "000000001", "000000002"]
    series = [*some(10, "a"), *some(10, "b")]
    assert tuple(make_shards(series, LIMITS)) == make_plan(series, LIMITS).shards


@given(series_lists)
def test_the_outline_of_a_plan_is_the_plan_s(series: list[Series]):
    plan = make_plan(series, LIMITS)
    assert outline((one.outline for one in in_order(series)), LIMITS) == PlanOutline(
        plan.name, len(plan.shards)
    )


def test_nothing_to_do_is_a_plan_without_shards():
    assert make_plan([]).shards == ()


def expected_read(series: Series, limits: LimitsConfig) -> ReadCost:
    """The expected cost of a series' headers, as the bounds of a shard count it."""
    count = series.outline.instance_count
    return read_cost(
        series.modality, MEAN_SERIES_INSTANCES if count is None else count, series.size or 0, limits
    )


def one_group(modality: str | None, tally: SeriesTotals) -> Summary:
    return Summary({("c", modality): tally})


def test_a_ct_slice_takes_one_request_and_a_series_one_listing():
    cost = estimate(one_group("CT", SeriesTotals(series=10, instances=1000, size=1000 * 500_000)))
    assert cost.requests == 1000 + 10 + 1
    assert cost.header_bytes == 1000 * 16 * 1024
    assert (cost.series, cost.instances, cost.object_bytes) == (10, 1000, 500_000_000)
    assert cost.fraction == pytest.approx(0.0328, abs=1e-3)


def test_slides_are_hardly_read():
    cost = estimate(one_group("SM", SeriesTotals(series=76_300, instances=391_939, size=49_028_683_897_254)))
    assert cost.fraction < 0.001
    assert cost.header_bytes > 391_939 * 16 * 1024


def test_an_object_without_pixel_data_is_read_whole():
    cost = estimate(one_group("SR", SeriesTotals(series=10, instances=10, size=10 * 500_000)))
    assert cost.header_bytes == cost.object_bytes
    assert cost.requests > 20


def test_no_more_is_read_than_there_is():
    cost = estimate(one_group("SEG", SeriesTotals(series=5, instances=5, size=5000)))
    assert (cost.header_bytes, cost.requests) == (5000, 10)


def test_one_header_is_read_no_further_than_its_bound():
    limits = LimitsConfig(max_header_bytes=1024 * 1024)
    cost = estimate(one_group("SR", SeriesTotals(series=1, instances=1, size=10**12)), limits)
    assert cost.header_bytes < 2 * 1024 * 1024


def test_series_that_are_not_counted_are_expected_to_be_average():
    cost = estimate(one_group(None, SeriesTotals(series=2, uncounted=2)))
    assert (cost.instances, cost.uncounted, cost.object_bytes, cost.fraction) == (0, 2, 0, 0.0)
    assert cost.requests == 2 * MEAN_SERIES_INSTANCES + 2


def test_time_follows_the_stated_rates():
    summary = one_group("CT", SeriesTotals(series=1, instances=10**6, size=10**12))
    usual, polite = estimate(summary), estimate(summary, LimitsConfig(requests_per_second=10))
    assert forecast(usual, ASSUMED_RATES, 1).seconds == usual.parsing / ASSUMED_RATES.headers_per_core_second
    assert forecast(usual, ASSUMED_RATES, 100).seconds == usual.requests / usual.requests_per_second
    assert forecast(polite, ASSUMED_RATES, 100).seconds == polite.requests / 10
    assert usual.requests_per_second > polite.requests_per_second == 10


def test_a_series_of_named_objects_is_counted_by_them():
    listed = tuple(ListedObject(ObjectRef("b", f"{number}.dcm"), size=None) for number in range(3))
    assert expected_read(Series(key="k", objects=listed), LIMITS).requests == 3


def test_a_selection_summed_by_hand_estimates_as_its_sums():
    series = [*some(10, "a", "CT"), *some(10, "b", "MR"), *some(3, "b", "CT")]
    summary = Summary.of(series)
    assert summary.by_modality["CT"].series == 13
    assert summary.by_collection["b"].series == 13
    assert summary.total == SeriesTotals(series=23, instances=690, size=690 * 500_000)
    requests = sum(expected_read(one, LimitsConfig()).requests for one in series)
    assert estimate(summary).requests == requests + 23
