"""Of random datasets one file of records is damaged; no writing command loses a row or a stranger's file."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from bucket_servers import Bucket
from random_datasets import check_case

# More cases: HARVESTER_DAMAGE_CASES=5000 pytest -s -m slow tests/dataset/maintenance/test_random_damage.py
CASES = int(os.environ.get("HARVESTER_DAMAGE_CASES", "2000"))


def checked(folder: Path, seeds: range, bucket: Bucket | None = None) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for seed in seeds:
        place = None if bucket is None else bucket.place(f"damage/{seed}")
        outcomes[check_case(folder / str(seed), seed, place)] += 1
    return outcomes


@pytest.mark.timeout(600)
def test_no_row_is_lost_with_one_file(tmp_path: Path) -> None:
    outcomes = checked(tmp_path, range(40))
    assert outcomes.total() == 40
    assert len(outcomes) > 3, "the cases are too much alike"


def test_no_row_of_a_bucket_is_lost_with_one_file(tmp_path: Path, writable_bucket: Bucket) -> None:
    assert checked(tmp_path, range(3), writable_bucket).total() == 3


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_row_of_a_bucket_is_lost_in_a_hundred_cases(tmp_path: Path, writable_bucket: Bucket) -> None:
    outcomes = checked(tmp_path, range(1000, 1000 + CASES // 20), writable_bucket)
    sys.stdout.write(
        f"{writable_bucket.scheme}: {outcomes.total():,} cases: {dict(sorted(outcomes.items()))}\n"
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_row_is_lost_with_one_file_in_thousands_of_cases(tmp_path: Path) -> None:
    outcomes = checked(tmp_path, range(1000, 1000 + CASES))
    sys.stdout.write(f"{outcomes.total():,} cases: {dict(sorted(outcomes.items()))}\n")
    assert outcomes.total() == CASES
