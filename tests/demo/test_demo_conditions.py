import itertools

import pytest

from harvester.demo.conditions import Conditions, Decision, decide


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-0", Decision(206, 0, 1)),
        ("bytes=2-5", Decision(206, 2, 6)),
        ("bytes=2-", Decision(206, 2, 10)),
        ("bytes=2-1000", Decision(206, 2, 10)),
        ("bytes=-3", Decision(206, 7, 10)),
        ("bytes=-1000", Decision(206, 0, 10)),
        ("bytes=9-9", Decision(206, 9, 10)),
        ("BYTES=9-9", Decision(206, 9, 10)),
        ("bytes=10-", Decision(416)),
        ("bytes=10-20", Decision(416)),
        ("bytes=-0", Decision(416)),
        ("bytes=" + "9" * 40 + "-", Decision(416)),
        ("bytes=5-2", Decision(200, 0, 10)),
        ("bytes=-", Decision(200, 0, 10)),
        ("bytes=", Decision(200, 0, 10)),
        ("bytes=a-b", Decision(200, 0, 10)),
        ("bytes=0-1,4-5", Decision(200, 0, 10)),
        ("bytes=--1", Decision(200, 0, 10)),
        ("bytes=+1-2", Decision(200, 0, 10)),
        ("bytes=\u0661-\u0662", Decision(200, 0, 10)),
        ("items=0-1", Decision(200, 0, 10)),
        ("bytes=" + "9" * 5000 + "-", Decision(200, 0, 10)),
    ],
)
def test_ranges_are_read_as_s3_reads_them(field: str, expected: Decision) -> None:
    assert decide(Conditions(range=field), 10, "tag") == expected


@pytest.mark.parametrize("field", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_no_range_of_an_empty_object_can_be_satisfied(field: str) -> None:
    assert decide(Conditions(range=field), 0, "tag") == Decision(416)
    assert decide(Conditions(), 0, "tag") == Decision(200, 0, 0)


@pytest.mark.parametrize(
    ("if_match", "if_none_match"), list(itertools.product([None, '"tag"', '"x", "tag"', "*"], [None, '"x"']))
)
def test_conditions_that_hold_change_nothing(if_match: str | None, if_none_match: str | None) -> None:
    conditions = Conditions("bytes=1-2", if_match, if_none_match)
    assert decide(conditions, 10, "tag") == Decision(206, 1, 3)


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        (Conditions(if_match='"x"'), 412),
        (Conditions(if_match='W/"tag"'), 412),
        (Conditions("bytes=99-", if_match='"x"'), 412),
        (Conditions(if_match='"x"', if_none_match='"tag"'), 412),
        (Conditions(if_none_match='"tag"'), 304),
        (Conditions(if_none_match='W/"tag"'), 304),
        (Conditions("bytes=99-", if_none_match="*"), 304),
    ],
)
def test_conditions_that_fail_come_before_the_range(conditions: Conditions, status: int) -> None:
    assert decide(conditions, 10, "tag") == Decision(status)
