"""The audit records of a dataset, read back for a report."""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from harvester.audits.findings import RuleOutcome
from harvester.audits.run import AUDITS, RECORD
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
