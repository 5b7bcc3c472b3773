"""Audits that a dataset keeps, read back: by whom a report, or a comparison, is made."""

from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from harvester.audits.run import AUDITS, RECORD
from harvester.dataset import Dataset
from harvester.errors import DatasetError

_MOST_BYTES: Final = 64 << 20


class KeptFinding(BaseModel):
    """An example of what broke a rule; the fields are those of `Finding`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    subject: str
    problem: str
    collection_id: str | None = None
    modality: str | None = None
    series_instance_uid: str | None = None
    instance_url: str | None = None
    instances: int = 1
    shown: str | None = None


class KeptRule(BaseModel):
    """What became of one rule; the fields are those of `RuleOutcome`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    kind: str
    title: str
    severity: str
    unit: str
    checked: int | None = None
    violations: int = 0
    findings: int = 0
    share: float | None = None
    skipped: str | None = None
    examples: tuple[KeptFinding, ...] = ()


class KeptAudit(BaseModel):
    """One audit, as its record has it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    audit: str
    started_at: str
    seconds: float
    fail_on: str
    failed: bool
    rules: tuple[KeptRule, ...]


def latest_audit(dataset: Dataset) -> KeptAudit | None:
    """The audit that was made last, whatever it is called; None if there is none.

    Raises:
        DatasetError: Its record cannot be read.
    """
    known = [path for path in dataset.storage.list_files(AUDITS) if path.endswith(f"/{RECORD}")]
    if not known:
        return None
    path = max(known)
    content = dataset.storage.read(path)
    try:
        if len(content) > _MOST_BYTES:
            raise DatasetError(f"{dataset.storage.folder}/{path}: larger than any audit's record")
        return KeptAudit.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DatasetError(
            f"{dataset.storage.folder}/{path}: corrupt record of an audit ({where}: {first['msg']}); "
            "delete its folder, or audit again"
        ) from error
