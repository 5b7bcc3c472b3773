"""What one test found out about an object must not help the next."""

from collections.abc import Iterator

import pytest

from harvester.reader.engine import KEPT_INDEXES


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    KEPT_INDEXES.clear()
    yield
    KEPT_INDEXES.clear()
