"""The rule that instances conform to their IOD in PS3.3."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import pyarrow as pa

from harvester.audits.conformance.check import series_findings
from harvester.audits.conformance.options import conformance_options
from harvester.audits.rules.base import STANDARD_COLUMNS, AuditDatabase, Rule, Texts
from harvester.audits.vocabulary import Severity


class Conformance(Rule):
    """Every instance conforms to the IOD of its SOP class (PS3.3).

    docs/conformance.md lists the checks. `least` is the lowest severity that is reported; `iods`, `types`,
    `modules` and `ignore` select attributes; `private` also reports private SOP classes, and `extended`
    attributes that the IOD does not have. An instance with several problems is counted once for each, also
    for `at_most`.
    """

    kind: ClassVar[str] = "conformance"
    columns: ClassVar[tuple[str, ...]] = ()

    severity: Severity = "warning"
    least: Severity = "error"
    iods: Texts = ()
    types: Texts = ()
    modules: Texts = ()
    ignore: Texts = ()
    private: bool = True
    extended: bool = False

    def batches(self, database: AuditDatabase) -> Iterator[pa.RecordBatch]:
        """The findings in `STANDARD_COLUMNS`."""
        options = conformance_options(
            iods=self.iods,
            types=self.types,
            modules=self.modules,
            severity=self.least,
            ignore=self.ignore,
            private=self.private,
            extended=self.extended,
            where=self.scope(),
        )
        options = replace(options, memory=database.memory)
        for batch in series_findings(database.connection, options):
            columns = {
                **{name: batch.column(name) for name in batch.schema.names},
                "shown": pa.nulls(batch.num_rows, pa.string()),
            }
            yield pa.RecordBatch.from_pydict({name: columns[name] for name in STANDARD_COLUMNS})
