"""One scan over all instances: which SOP classes there are, and where instances violate rules.

Rules that read few columns share it. Each then reads only the folders of collections and modalities in which
it is violated.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import duckdb

from harvester.catalog.database import literal
from harvester.query import attributes_in, run_query

_MAXIMUM_CHECKS: Final = 60  # bits of an integer
_MAXIMUM_PLACES: Final = 1000
_FOLDER: Final = "concat(collection_id, '/', Modality)"


class Check(NamedTuple):
    """What one rule checks, as SQL conditions on `instances`.

    Attributes:
        scope: The instances that it applies to.
        violated: Those of them that violate it.
    """

    scope: str
    violated: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What the scan found.

    Attributes:
        classes: How many instances of each SOP class there are, by modality.
        checked: How many instances are in each scope.
    """

    classes: Mapping[str | None, Mapping[str, int]] = field(default_factory=dict)
    checked: Mapping[str, int] = field(default_factory=dict)
    _violated: Mapping[Check, Sequence[str]] = field(default_factory=dict)

    def places(self, check: Check) -> str | None:
        """The SQL condition on the folders in which instances violate a check; None: there are none."""
        found = self._violated.get(check)
        if found is None or len(found) > _MAXIMUM_PLACES:
            return "true"
        # One expression: DuckDB computes the condition once for each file.
        return f"{_FOLDER} IN ({', '.join(map(literal, found))})" if found else None


def survey(
    connection: duckdb.DuckDBPyConnection,
    checks: Iterable[Check],
    sop_classes: AbstractSet[str] = frozenset(),
) -> Survey:
    """Scan all instances once.

    Args:
        connection: The open dataset.
        checks: Of built-in rules: attributes that the dataset lacks are NULL. Further ones are left out.
        sop_classes: The SOP classes that are counted.

    Raises:
        QueryError: The scan failed.
    """
    surveyed = list(dict.fromkeys(checks))[:_MAXIMUM_CHECKS]
    scopes = list(dict.fromkeys(one.scope for one in surveyed))
    violated = " | ".join(
        f"CASE WHEN {one.scope} AND ({one.violated}) THEN {1 << number}::BIGINT ELSE 0 END"
        for number, one in enumerate(surveyed)
    )
    counts = ["count(*)" if one == "true" else f"count(*) FILTER ({one})" for one in scopes]
    columns = ", ".join([f"bit_or({violated or '0'})", *counts])
    sql = (
        f"SELECT {_FOLDER} AS folder, Modality, SOPClassUID, count(*), {columns} FROM instances GROUP BY ALL"
    )
    classes: dict[str | None, dict[str, int]] = {}
    checked = dict.fromkeys(scopes, 0)
    places: dict[Check, dict[str, None]] = {one: {} for one in surveyed}
    for batch in run_query(connection, sql, attributes=attributes_in(sql)).batches():
        for folder, modality, sop_class, instances, bits, *scoped in zip(
            *(column.to_pylist() for column in batch.columns), strict=True
        ):
            if sop_class in sop_classes:
                of_modality = classes.setdefault(modality, {})
                of_modality[sop_class] = of_modality.get(sop_class, 0) + instances
            for scope, number in zip(scopes, scoped, strict=True):
                checked[scope] += number
            for number, one in enumerate(surveyed):
                if bits >> number & 1:
                    places[one][folder] = None
    return Survey(classes, checked, {one: tuple(found) for one, found in places.items()})
