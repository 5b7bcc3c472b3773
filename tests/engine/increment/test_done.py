"""What of a plan is done is known by its shards, however many series they hold."""

import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from changing_bucket import BUCKET, uuid

from harvester.config import LimitsConfig
from harvester.dataset import Commit
from harvester.engine.increment import CommittedSeries, Done
from harvester.model import ObjectRef, Plan, Series, Shard


def series(number: int) -> Series:
    return Series(uuid(number), (ObjectRef(BUCKET, f"{uuid(number)}/"),), instance_count=3)


def commit(shard: str, numbers: Sequence[int]) -> Commit:
    return Commit(
        crawl="c",
        shard=shard,
        series=tuple(map(uuid, numbers)),
        parts=(),
        requests=0,
        bytes_fetched=0,
        seconds=0.0,
        committed_at=datetime.now(UTC),
        counts={uuid(number): (2, 1) for number in numbers},
    )


def plan(*shards: Shard) -> Plan:
    return Plan("p", shards)


def test_whole_shards_and_single_series_are_done_and_the_rest_is_left() -> None:
    survey = CommittedSeries.of([commit("a", [1, 2]), commit("b", [3])])
    whole, partly, new = (
        Shard(name, tuple(map(series, numbers)))
        for name, numbers in (("a", [1, 2]), ("b", [3, 4]), ("c", [5]))
    )
    done = Done.of(survey, plan(whole, partly, new))
    assert (done.instances, done.failures) == (6, 3)
    assert (done.shards, done.series) == ({"a"}, {uuid(3)})
    left = list(done.remaining(plan(whole, partly, new), LimitsConfig()))
    assert [[one.key for one in shard.series] for shard in left] == [[uuid(4)], [uuid(5)]]
    assert left[0].name != "b", "parts of what is committed under that name must not be replaced"
    assert left[1].name == "c"


def test_a_series_under_two_addresses_is_done_and_counted_once() -> None:
    survey = CommittedSeries.of([commit("a", [1])])
    both = [
        Series(f"{scheme}://{BUCKET}/{uuid(1)}/", (ObjectRef(BUCKET, f"{uuid(1)}/", scheme),))
        for scheme in ("s3", "gs")
    ]
    for shards in ([Shard("x", tuple(both))], [Shard(one.key[:2], (one,)) for one in both]):
        done = Done.of(survey, plan(*shards))
        assert (done.instances, done.failures) == (2, 1)
        assert not list(done.remaining(plan(*shards), LimitsConfig()))


def test_what_is_held_of_a_crawl_that_goes_on_does_not_grow_with_its_series() -> None:
    size, number = 1000, 20

    class Shards(tuple[Shard, ...]):  # noqa: SLOT001
        """Made anew each time, as those that lie on a disk."""

        def __iter__(self) -> Iterator[Shard]:
            for start in range(0, size * number, size):
                yield Shard(f"s{start}", tuple(map(series, range(start, start + size))))

    survey = CommittedSeries.of(
        commit(f"s{at}", range(at, at + size)) for at in range(0, size * number, size)
    )
    tracemalloc.start()
    try:
        done = Done.of(survey, Plan("p", Shards()))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.instances == 2 * size * number
    assert held < 200_000  # bytes; a set of their keys takes ten times as much
