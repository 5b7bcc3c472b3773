"""One crawl and one audit for all tests of a report."""

import pytest
from hostile_cohort import hostile_dataset


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The location of a dataset whose values contain markup."""
    return hostile_dataset(tmp_path_factory.mktemp("hostile"))
