"""Each of the statements in `idc_statements` returns what pydicom's datasets say."""

import re
import warnings
from collections.abc import Iterator
from datetime import date
from typing import Any

import anyio
import duckdb
import pytest
from checkout import ROOT
from idc_statements import Files, Statement, kinds, statements
from made_reports import write_cohort
from pydicom import dcmread

from harvester.config import load
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.query import open_dataset, run_query


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Files, duckdb.DuckDBPyConnection]]:
    folder = tmp_path_factory.mktemp("statements")
    files = folder / "files"
    files.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_cohort(files, segmentations=8, reports=6)
    toml = folder / "crawl.toml"
    toml.write_text(
        f'dataset = "{folder}/dataset"\n[source]\ncatalog = "local"\n[select]\nroot = "{files}"\n'
    )
    anyio.run(crawl, load(toml), CrawlProgress())
    with open_dataset(folder / "dataset") as connection:
        yield Files([dcmread(path) for path in sorted(files.iterdir())]), connection


@pytest.mark.parametrize("statement", statements(), ids=lambda statement: statement.kind)
def test_a_statement_returns_what_pydicom_says(
    cohort: tuple[Files, duckdb.DuckDBPyConnection], statement: Statement
) -> None:
    files, connection = cohort
    result = run_query(connection, statement.sql, "bigquery", dict(statement.parameters))
    found = [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]
    expected = statement.rows(files)
    assert len(found) == len(expected) > 0
    assert sorted(map(plain, found), key=str) == sorted(map(plain, expected), key=str)


def plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        value.isoformat() if isinstance(value, date) else float(value) if is_number(value) else value
        for value in row
    )


def is_number(value: Any) -> bool:
    return not isinstance(value, str | bool | list) and hasattr(value, "__float__")


def test_the_documentation_counts_the_statements() -> None:
    page = (ROOT / "docs" / "sql.md").read_text()
    (table,) = re.findall(r"\| kind of statement \| statements \|\n(?:\|.*\n)+", page)
    assert table.strip() == kinds()
    assert len(statements()) >= 80
