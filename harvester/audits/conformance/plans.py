"""What is asked of the instances of each SOP class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import duckdb
from pydicom._uid_dict import UID_dictionary

from harvester.audits.conformance.checks import Case, Check, CheckList, Selection
from harvester.audits.conformance.class_checks import ClassChecks, ItemChecks
from harvester.audits.conformance.levels import Fields
from harvester.audits.conformance.required import NOT_LISTED
from harvester.audits.conformance.standard import iod, iod_name
from harvester.audits.conformance.value_checks import MORE_EMPTY_ELEMENTS
from harvester.catalog.database import identifier, literal
from harvester.query.sql_types import DuckDBPyType


@dataclass(frozen=True, slots=True)
class ConformanceOptions:
    """What is checked.

    Attributes:
        sop_classes: UIDs of SOP classes; empty: all.
        selection: Which checks.
        private: Whether private SOP classes are reported as unknown.
        where: An SQL condition on `instances`.
        memory: Memory limit of the database.
    """

    sop_classes: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)
    private: bool = True
    where: str = "true"
    memory: str = "2GB"


_SMALL: Final = 1000  # instances
_IDENTITY: Final = ("collection_id", "Modality", "SeriesInstanceUID", "SOPInstanceUID", "instance_url")
# What the harvest says of elements that have no column of their own.
_ALWAYS: Final = frozenset({"bulk_data", "empty_elements", "invalid_elements", "pixel_data_keyword"})


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """The checks of the instances of one SOP class.

    Attributes:
        sop_class_uid: The class.
        instances: How many there are.
        source: `FROM ... WHERE ...` of the instances, with the paths of binary and invalid elements.
        checks: All checks; findings have their numbers.
        top: The cases of the top level.
        items: The checks of the items of sequences.
        invalid: Checks of `invalid_elements`, by the SQL condition on an entry.
        unchecked: What is not checked, and why.
        is_small: Whether its instances are few; they are then copied, and queried often at little cost.
    """

    sop_class_uid: str
    instances: int
    source: str
    checks: Sequence[Check]
    top: Sequence[Case]
    items: Sequence[ItemChecks] = ()
    invalid: Mapping[str, int] = field(default_factory=dict)
    unchecked: Mapping[str, str] = field(default_factory=dict)
    is_small: bool = False


def class_plans(connection: duckdb.DuckDBPyConnection, options: ConformanceOptions) -> list[ClassPlan]:
    """The plans of the SOP classes of a dataset, the most frequent first."""
    fields = _fields(connection)
    sql = f"""SELECT COALESCE(SOPClassUID, '') AS uid, sum(n)::BIGINT AS n, list(Modality) AS modalities
              FROM (SELECT SOPClassUID, Modality, count(*) AS n FROM instances
                    WHERE {options.where} GROUP BY ALL)
              GROUP BY uid ORDER BY n DESC, uid"""
    classes = connection.execute(sql).fetchall()
    small = [uid for uid, count, _ in classes if count <= _SMALL]
    present = _present(connection, fields, options.where, small)
    plans = []
    for uid, count, modalities in classes:
        if options.sop_classes and uid not in options.sop_classes:
            continue
        name = iod_name(uid)
        if options.selection.iods and name not in options.selection.iods:
            continue
        of_class = present.get(uid, fields)
        source = _source(of_class, options, uid, modalities)
        if name is None:
            checks = CheckList(options.selection)
            plans.append(ClassPlan(uid, count, source, checks.checks, _unknown(uid, checks, options)))
            continue
        one = ClassChecks(iod(name), of_class, options.selection)
        checks = one.checks
        plans.append(
            ClassPlan(
                uid,
                count,
                source,
                checks.checks,
                one.top,
                one.items,
                one.invalid,
                checks.unchecked,
                is_small=uid in present,
            )
        )
    return plans


def _unknown(uid: str, checks: CheckList, options: ConformanceOptions) -> list[Case]:
    """A SOP class that the tables do not have: retired, private, or not a SOP class."""
    standard = uid.startswith("1.2.840.10008.")
    known = UID_dictionary.get(uid)
    retired = known is not None and bool(known[3])
    severity = "info" if retired or (uid and not standard) else "error"
    check = Check("unknown_class", severity, "SOPClassUID", "SOPClassUID", "1", "sop-common", "PS3.4 B.5")
    return checks.case(check, "true") if options.private or standard or not uid else []


def _fields(connection: duckdb.DuckDBPyConnection) -> Fields:
    relation = connection.sql("SELECT * FROM instances LIMIT 0")
    return {
        name: kind
        for name, kind in zip(relation.columns, relation.types, strict=True)
        if isinstance(kind, DuckDBPyType)
    }


def _present(
    connection: duckdb.DuckDBPyConnection, fields: Fields, where: str, uids: Sequence[str]
) -> dict[str, Fields]:
    """The columns that have a value in a class, by class: most columns are of other classes.

    A query of few instances costs what its length costs, and a check of an absent column is short.
    """
    if not uids:
        return {}
    counts = ", ".join(f"count({identifier(name)})" for name in fields)
    classes = ", ".join(map(literal, uids))
    sql = f"""SELECT COALESCE(SOPClassUID, '') AS uid, {counts} FROM instances
              WHERE ({where}) AND COALESCE(SOPClassUID, '') IN ({classes}) GROUP BY 1"""
    return {
        uid: {
            name: kind
            for (name, kind), count in zip(fields.items(), found, strict=True)
            if count or name in _ALWAYS
        }
        for uid, *found in connection.execute(sql).fetchall()
    }


def _source(fields: Fields, options: ConformanceOptions, uid: str, modalities: list[str | None]) -> str:
    """The instances of a class. Parts of other modalities are not opened: folders have the modality."""
    not_listed = f"CASE WHEN {MORE_EMPTY_ELEMENTS} THEN '{NOT_LISTED}' ELSE e.path END"
    lists = [
        f"[{path} FOR e IN {name}] AS {alias}" if name in fields else f"CAST([] AS VARCHAR[]) AS {alias}"
        for name, alias, path in (
            ("bulk_data", "bulk_paths", "e.path"),
            ("invalid_elements", "invalid_paths", not_listed),
        )
    ]
    if "empty_elements" not in fields:
        lists.append("CAST([] AS VARCHAR[]) AS empty_elements")
    folders = f"Modality IN ({', '.join(literal(one) for one in modalities if one is not None)})"
    if None in modalities:
        folders = "true"
    # A plain comparison: row groups without the class are not read.
    same = f"SOPClassUID = {literal(uid)}" if uid else "COALESCE(SOPClassUID, '') = ''"
    of_class = f"({options.where}) AND {same} AND {folders}"
    lists.append("COALESCE(SeriesInstanceUID, instance_url) AS subject")
    columns = ", ".join(map(identifier, dict.fromkeys((*_IDENTITY, *fields))))
    return f"FROM (SELECT {columns}, {', '.join(lists)} FROM instances WHERE {of_class}) WHERE true"
