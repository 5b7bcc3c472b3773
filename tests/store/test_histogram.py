import random

import pytest

from harvester.store.histogram import Histogram


def test_a_percentile_is_right_within_a_twentieth():
    histogram = Histogram()
    drawn = random.Random(1)
    seconds = sorted(drawn.lognormvariate(-3.0, 1.0) for _ in range(20_000))
    for one in seconds:
        histogram.add(one)
    for percent in (1, 50, 90, 99, 99.9):
        exact = seconds[int(len(seconds) * percent / 100)]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=0.05)
    assert histogram.total == 20_000


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9])
def test_what_is_beyond_is_counted_at_the_ends(seconds):
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.total == 1
    assert histogram.percentile(50) == pytest.approx(1e-4 if seconds < 1 else 1670.0, rel=0.1)


def test_an_empty_one_has_no_percentile():
    assert Histogram().percentile(50) is None


def test_two_add_up():
    one, two = Histogram(), Histogram()
    for _ in range(99):
        one.add(0.01)
    two.add(10.0)
    both = one.merged(two)
    assert both.total == 100
    assert both.percentile(99) == pytest.approx(0.01, rel=0.05)
    assert both.percentile(100) == pytest.approx(10.0, rel=0.05)
    assert one.total == 99


def test_counts_of_another_length_are_taken_as_far_as_they_go():
    assert Histogram.of([1, 2]).total == 3
    assert Histogram.of([1] * 1000).merged(Histogram()).total < 1000
