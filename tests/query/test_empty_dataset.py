"""IDC's tables over a dataset that no object is in, so that each attribute is absent."""

from collections.abc import Iterator

import duckdb
import pytest

from harvester.query import INDEX_NAMES, build_index, open_release


@pytest.fixture(scope="module")
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_release() as connection:
        yield connection


@pytest.mark.parametrize("name", INDEX_NAMES)
def test_a_table_of_no_objects_has_no_rows(empty: duckdb.DuckDBPyConnection, name: str) -> None:
    assert sum(batch.num_rows for batch in build_index(empty, name).batches()) == 0
