"""What one test found out about an object must not help the next."""

from collections.abc import Iterator

import pytest

from harvester.reader.event_loop import KEPT_INDEXES
from harvester.reader.header_lengths import LAST_LENGTHS


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    for memory in (KEPT_INDEXES, LAST_LENGTHS):
        memory.clear()
    yield
    for memory in (KEPT_INDEXES, LAST_LENGTHS):
        memory.clear()
