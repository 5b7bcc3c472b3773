"""IDC's tables in BigQuery, of any release, as the views over a dataset."""

import re
from typing import Final

from sqlglot import exp

from harvester.errors import QueryError
from harvester.query.views import DICOM_TABLES

_RELEASE: Final = re.compile(r"idc_(?:v\d+|current)", re.IGNORECASE)
_CLINICAL: Final = re.compile(r"idc_(?:v\d+|current)_clinical", re.IGNORECASE)
_OWN: Final = {
    **{table: table for table in DICOM_TABLES},
    "version_metadata": "version_metadata_index",
}


def use_own_tables(query: exp.Expr) -> None:
    """Rename the tables of IDC's releases to the views that stand for them, in place.

    Raises:
        QueryError: A table is not IDC's, or its rows do not come from headers.
    """
    for table in list(query.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier) or not table.db:
            continue
        line = table.this.meta.get("line", 1)
        full = ".".join(part.name for part in table.parts)
        own = _OWN.get(table.name.lower())
        if _CLINICAL.fullmatch(table.db):
            raise QueryError(
                f"line {line}: {full}: clinical data are not in DICOM headers, so a harvest has none; "
                "idc-index's get_clinical_table() gets them"
            )
        if not _RELEASE.fullmatch(table.db):
            raise QueryError(
                f"line {line}: {full} is no table of IDC; name a table of bigquery-public-data.idc_current "
                "or of bigquery-public-data.idc_v<number>"
            )
        if own is None:
            raise QueryError(
                f"line {line}: {full} cannot be made from headers alone; there are {', '.join(_OWN)}"
            )
        if not table.alias and own != table.name:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
        table.set("this", exp.to_identifier(own))
        table.set("db", None)
        table.set("catalog", None)
