"""Tests share no memory of objects."""

from collections.abc import Iterator

import pytest

from harvester.reader.frame_lookup import FRAME_INDEXES
from harvester.reader.header_lengths import RECENT_LENGTHS


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    for memory in (FRAME_INDEXES, RECENT_LENGTHS):
        memory.clear()
    yield
    for memory in (FRAME_INDEXES, RECENT_LENGTHS):
        memory.clear()
