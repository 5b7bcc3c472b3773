"""Check that what rules are limited to occurs in the dataset."""

from collections.abc import Iterable
from typing import Final

import duckdb

from harvester.audits.rules.base import Rule
from harvester.errors import ConfigError
from harvester.messages import did_you_mean, one_line
from harvester.query import run_query

# Series that are expected, and objects that failed, are known by collection and modality only.
_TABLES: Final = {
    "Modality": ("instances", "failures", "expected_series"),
    "SOPClassUID": ("instances",),
    "collection_id": ("instances", "failures", "expected_series"),
}


def check_selections(connection: duckdb.DuckDBPyConnection, rules: Iterable[Rule]) -> None:
    """Check that the modalities, SOP classes and collections of rules occur in the cohort.

    Args:
        connection: The open dataset, with `expected_series`.
        rules: The rules.

    Raises:
        ConfigError: One occurs nowhere: it is misspelt, and the rule would check nothing.
    """
    known: dict[str, list[str]] = {}
    for rule in rules:
        names = {
            "Modality": rule.modality,
            "SOPClassUID": rule.sop_class_uid,
            "collection_id": rule.collection_id,
        }
        for name, values in names.items():
            if values and name not in known:
                known[name] = _values(connection, name)
            for value in values:
                if value not in known[name]:
                    text = f"{name} {one_line(repr(value))[:80]} occurs nowhere in the cohort"
                    raise ConfigError(f"rule {rule.label}: {text}{did_you_mean(value, known[name])}")


def _values(connection: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    rows = " UNION ".join(f"SELECT {name} AS value FROM {table}" for table in _TABLES[name])
    batches = run_query(connection, f"SELECT value FROM ({rows}) WHERE value IS NOT NULL").batches()
    return sorted(value for batch in batches for value in batch.column(0).to_pylist())
