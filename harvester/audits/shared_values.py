"""The instances of a series that share values as one row: several rules read these, not all instances."""

from collections.abc import Iterable, Mapping
from typing import Final

from harvester.catalog.database import identifier

SHARED: Final = "shared_values"
"""The table of an audit that has, of all instances, the values that its rules ask for."""

_ALWAYS: Final = ("StudyInstanceUID", "SOPClassUID", "crdc_series_uuid")


def alike(values: Mapping[str, str], condition: str, totals: Iterable[str] = ()) -> str:
    """The query that returns one row for all instances of a series that share values.

    `alike` is how many they are, and `instance_url` one of them. An instance without a study or a series
    has a row of its own.

    Args:
        values: The SQL expressions of the values, by name.
        condition: The SQL condition on `instances`.
        totals: Further SQL aggregates.
    """
    computed = [f"{sql} AS {identifier(name)}" for name, sql in values.items() if sql != identifier(name)]
    names = list(map(identifier, dict.fromkeys(["collection_id", "Modality", *values])))
    kept = ", ".join([*(f"any_value({name}) AS {name}" for name in names), *totals])
    alone = "CASE WHEN StudyInstanceUID IS NULL OR SeriesInstanceUID IS NULL THEN one.instance_url END"
    # Grouped by one hash: lists as keys take three times as long.
    return f"""
        SELECT SeriesInstanceUID, {kept}, min(one.instance_url) AS instance_url, count(*) AS alike
        FROM (SELECT {", ".join(["*", *computed])} FROM instances WHERE {condition}) AS one
        GROUP BY SeriesInstanceUID, {alone}, hash({", ".join(f"one.{name}" for name in names)})"""


def all_alike(values: Iterable[Mapping[str, str]]) -> str:
    """The query of the table `SHARED`, which also has the size of the instances.

    Args:
        values: What each rule asks for.
    """
    wanted = {name: identifier(name) for name in _ALWAYS}
    for some in values:
        wanted |= some
    return alike(wanted, "true", ["sum(instance_size) AS size"])
