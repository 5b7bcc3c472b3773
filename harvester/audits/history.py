"""The audit records of a dataset, read back for a report."""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from harvester.audits.findings import RuleOutcome
from harvester.audits.run import AUDITS, RECORD
from harvester.dataset import Dataset
from harvester.errors import DatasetError

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
    known = [path for path in dataset.storage.list_files(AUDITS) if path.endswith(f"/{RECORD}")]
    if not known:
        return None
    path = max(known)
    content = dataset.storage.read(path)
    if len(content) > _MAX_BYTES:
        raise DatasetError(f"{dataset.storage.folder}/{path}: too large for the record of an audit")
    try:
        return _RECORD_TYPE.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DatasetError(
            f"{dataset.storage.folder}/{path}: corrupt record of an audit ({where}: {first['msg']}); "
            "delete its folder, or run the audit again"
        ) from error
