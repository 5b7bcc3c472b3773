"""The audit records of a dataset, read back for a report."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from harvester.audits.findings import RuleOutcome
from harvester.audits.run import AUDITS, FINDINGS, RECORD
from harvester.dataset import Dataset
from harvester.dataset.paths import is_owned
from harvester.messages import first_problem

_MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class StoredAudit:
    """One audit as recorded in the dataset."""

    audit: str
    findings: str
    started_at: str
    seconds: float
    fail_on: str
    failed: bool
    rules: tuple[RuleOutcome, ...]


_RECORD_TYPE: Final = TypeAdapter(StoredAudit)


def latest_audit(dataset: Dataset) -> StoredAudit | None:
    """The latest audit of a dataset, whatever its name; None if there is none.

    Raises:
        DatasetError: Its record cannot be read.
    """
    sizes = {
        path: size
        for path, (size, _) in dataset.storage.stamps(AUDITS).items()
        if path.endswith(f"/{RECORD}") and is_owned(path)
    }
    if not sizes:
        return None
    path = max(sizes)
    if sizes[path] > _MAX_BYTES:
        raise dataset.storage.error(path, "too large for the record of an audit")
    try:
        return _RECORD_TYPE.validate_json(dataset.storage.read(path))
    except ValidationError as error:
        what = f"corrupt record of an audit ({first_problem(error)})"
        raise dataset.storage.error(path, f"{what}; delete its folder, or run the audit again") from error


def nonconformance(dataset: Dataset, audit: StoredAudit | None) -> list[dict[str, Any]]:
    """Findings of the rule `conformance` by module and collection.

    Args:
        dataset: The dataset.
        audit: Its latest audit.

    Returns:
        Rows of `module`, `collection_id` and `instances`: in each series, those of its most frequent problem.
    """
    rules = [] if audit is None else [rule.name for rule in audit.rules if rule.kind == "conformance"]
    if audit is None or not rules:
        return []
    path = f"{AUDITS}/{audit.findings.rsplit('/', 2)[-2]}/{FINDINGS}"
    columns = ["collection_id", "subject", "problem", "instances"]
    found = pq.read_table(
        BytesIO(dataset.storage.read(path)), columns=columns, filters=[("rule", "in", rules)]
    )
    # As `problem` of harvester.audits.conformance.check writes it.
    module = pc.extract_regex(found["problem"], r"\(Type \w+, (?P<module>[^()]+)\)$")
    found = found.append_column("module", pc.struct_field(module, "module")).filter(pc.is_valid(module))
    by_series = found.group_by(["module", "collection_id", "subject"]).aggregate([("instances", "max")])
    sums = by_series.group_by(["module", "collection_id"]).aggregate([("instances_max", "sum")])
    rows: list[dict[str, Any]] = sums.rename_columns(["module", "collection_id", "instances"]).to_pylist()
    return rows
