"""The rows of a region are predicted; random access is not."""

import random

from hypothesis import given
from hypothesis import strategies as st

from harvester.reader.frame_prefetch import FramePrefetch

FRAMES = 3000


def guessed(numbers):
    """What is fetched ahead at each frame of an order."""
    order = FramePrefetch()
    told = []
    for number in numbers:
        told.append(order.rows(number, FRAMES))
        order.note(number)
    return told


def test_neighbours_are_not_prefetched():
    assert guessed(range(1, 40)) == [[]] * 39


def test_the_first_jump_after_some_neighbours_prefetches_two_rows():
    told = guessed([100, 101, 102, 160, 161, 162])
    assert told == [[], [], [], [(160, 162), (220, 222)], [], []]


def test_each_further_row_fetches_more_of_them():
    region = [row * 60 + column for row in range(1, 20) for column in range(3)]
    firsts = [rows for rows in guessed(region) if rows]
    assert [len(rows) for rows in firsts[:6]] == [2, 3, 5, 9, 9, 9]
    assert firsts[2][:2] == [(240, 242), (300, 302)]


def test_single_tiles_of_a_column_are_prefetched_from_the_third_on():
    told = guessed([100, 160, 220, 280])
    assert [len(rows) for rows in told] == [0, 0, 3, 5]


def test_nothing_after_the_last_frame_is_prefetched():
    told = guessed([2900, 2901, 2902, 2999])
    assert told[-1] == [(2999, 3000)]


@given(st.lists(st.integers(1, FRAMES), max_size=60))
def test_in_any_order_few_and_only_existing_frames_are_prefetched(numbers):
    for number, rows in zip(numbers, guessed(numbers), strict=True):
        assert len(rows) <= 9
        assert all(1 <= first <= last <= FRAMES for first, last in rows)
        assert not rows or rows[0][0] == number


def test_frames_at_random_places_are_not_prefetched():
    chance = random.Random(1)
    numbers = [chance.randint(1, FRAMES) for _ in range(500)]
    assert sum(map(len, guessed(numbers))) < 10
