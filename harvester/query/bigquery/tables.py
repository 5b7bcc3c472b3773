"""IDC's tables in BigQuery, of any release, as the views over a dataset."""

import re
from collections.abc import Container
from typing import Final

from sqlglot import exp

from harvester.errors import QueryError
from harvester.messages import did_you_mean
from harvester.query.bigquery.inputs import table_name
from harvester.query.bigquery.names import place_of

_DATASET: Final = re.compile(r"idc(?:_v\d+|_current|_views|_tcia\w*)?(?:_pub|_dev)?", re.IGNORECASE)
_CLINICAL: Final = re.compile(r"idc_(?:v\d+|current)_clinical", re.IGNORECASE)
# Releases before 11 had these beside the others.
_CLINICAL_TABLE: Final = re.compile(r"nlst_(?:canc|ctab|ctabc|prsn|screen)|tcga_\w+_rel\d+")
_OTHER_NAMES: Final = {
    "index": "idc_index",
    "information_schema.columns": "information_schema_columns",
    "information_schema.tables": "information_schema_tables",
    "version_metadata": "version_metadata_index",
}


def use_own_tables(query: exp.Expr, views: Container[str]) -> None:
    """Rename the tables of IDC's releases to the views that stand for them, in place.

    Args:
        query: In BigQuery's dialect.
        views: The names of the dataset's views, in lower case.

    Raises:
        QueryError: There is no such table, or its rows do not come from headers.
    """
    defined = {cte.alias.lower() for cte in query.find_all(exp.CTE)}
    for table in list(query.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier | exp.Dot):
            continue
        if (not table.db and table.name.lower() in defined) or (table.db and _is_item_of_row(table)):
            continue
        view = _view(table, views)
        if not table.alias and view != table.name:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
        renamed = exp.to_identifier(view, quoted=True)
        renamed.meta.update(table.this.meta)
        table.set("this", renamed)
        table.set("db", None)
        table.set("catalog", None)


def _view(table: exp.Table, views: Container[str]) -> str:
    full = ".".join(part.name for part in table.parts)
    name = table.name.lower()
    name = _OTHER_NAMES.get(name, name)
    is_old = _DATASET.fullmatch(table.db) and _CLINICAL_TABLE.fullmatch(name)
    if is_old or _CLINICAL.fullmatch(table.db):
        raise QueryError(
            f"{place_of(table)}: {full}: clinical data are not in DICOM headers, so a harvest has none; "
            "idc-index's get_clinical_table() gets them"
        )
    if table.db and not (isinstance(table.this, exp.Identifier) and _DATASET.fullmatch(table.db)):
        raise QueryError(
            f"{place_of(table)}: {full} is no table of IDC; name a table of bigquery-public-data.idc_current "
            "or of bigquery-public-data.idc_v<number>"
        )
    for view in (name, table_name(name)):
        if view in views:
            return view
    hint = did_you_mean(name, list(views)) if isinstance(views, (set, frozenset, dict)) else ""
    raise QueryError(f"{place_of(table)}: there is no table {full}{hint}")


def _is_item_of_row(table: exp.Table) -> bool:
    """Whether it is an array of another table of its query, as in `FROM dicom_all d, d.SegmentSequence`."""
    select = table.find_ancestor(exp.Select)
    if select is None:
        return False
    first = table.parts[0].name.lower()
    sources = [select.args["from_"].this, *(join.this for join in select.args.get("joins") or ())]
    return any(source is not table and source.alias_or_name.lower() == first for source in sources)
