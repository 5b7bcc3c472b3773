"""Selects the failures of a commit that are retried, and the part of the commit that stays."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from harvester.dataset import Commit, Dataset
from harvester.dataset.commits import read_failures
from harvester.errors import HarvestError
from harvester.model import Failure, ListedObject, ObjectRef, Series

# Failures of a whole series, which is listed again.
_OF_A_SERIES: Final = frozenset({"listing", "incomplete_series"})
_TRANSIENT_STATUS: Final = frozenset({408, 429})


def _transient_reasons(error: type[HarvestError]) -> frozenset[str]:
    here = frozenset({error.reason} if error.transient else ())
    return here.union(*(_transient_reasons(one) for one in error.__subclasses__()))


_TRANSIENT: Final = _transient_reasons(HarvestError)


def may_pass(reason: str, status: int | None) -> bool:
    """Whether a failure may succeed when retried later."""
    if reason == "listing":
        return status is None or status >= 500 or status in _TRANSIENT_STATUS
    return reason in _TRANSIENT


@dataclass(frozen=True, slots=True)
class RetriedFailures:
    """The failures of one commit that are retried; made by `find_failed`.

    Attributes:
        commit: The commit that will be replaced.
        series: What to harvest: series with their failed objects named, or to be listed again.
        known: URLs of objects that have a row in `instances`, which a listing names again.
    """

    commit: Commit
    series: tuple[Series, ...]
    known: frozenset[str]
    _rows: pa.Table
    _is_retried: tuple[bool, ...]

    def replaced_rows(self, done: Container[str]) -> int:
        """Number of rows of `failures` that are replaced once these series are done."""
        return sum(retried and key in done for retried, key in self._retried_by_key())

    def remaining_rows(self, done: Container[str]) -> pa.Table:
        """The rows of `failures` that stay once these series are done."""
        stays = [not retried or key not in done for retried, key in self._retried_by_key()]
        return self._rows.filter(pa.array(stays, pa.bool_()))

    def counts(self, series: str, instances: int, failures: int) -> tuple[int, int]:
        """The instances and failures of a series after a retry with these numbers."""
        before = self.commit.counts.get(series, (0, 0))
        stay = sum(not retried and key == series for retried, key in self._retried_by_key())
        return before[0] + instances, failures + stay

    def with_earlier_attempts(self, failures: Iterable[Failure]) -> list[Failure]:
        """The failures with the attempts of earlier runs added."""
        attempts = dict(
            zip(self._rows["instance_url"].to_pylist(), self._rows["attempts"].to_pylist(), strict=True)
        )
        return [replace(one, attempts=one.attempts + (attempts.get(one.url) or 0)) for one in failures]

    def _retried_by_key(self) -> Iterator[tuple[bool, str | None]]:
        return zip(self._is_retried, self._rows["series_key"].to_pylist(), strict=True)


def find_failed(
    dataset: Dataset, commit: Commit, series: Iterable[Series], *, transient_only: bool = False
) -> RetriedFailures:
    """Read which objects of these series failed, according to one commit.

    Args:
        dataset: The commit's dataset.
        commit: The commit.
        series: The series to retry, as the catalog names them today.
        transient_only: Leave out failures that a retry cannot change.

    Raises:
        DatasetError: A part cannot be read.
    """
    by_key = {one.key: one for one in series}
    named = {listed.ref.url: listed.ref for one in by_key.values() for listed in one.objects}
    rows = read_failures(dataset.storage, commit.parts)
    is_retried = []
    whole: set[str] = set()
    objects: dict[str, list[ListedObject]] = {}
    for row in rows.select(["series_key", "reason", "status", "instance_url", "instance_size"]).to_pylist():
        key, reason = row["series_key"], row["reason"]
        retried = key in by_key and (not transient_only or may_pass(reason, row["status"]))
        is_retried.append(retried)
        if retried and reason in _OF_A_SERIES:
            whole.add(key)
        elif retried:
            url = row["instance_url"]
            ref = named.get(url) or _preferred_copy(ObjectRef.parse(url), by_key[key])
            objects.setdefault(key, []).append(ListedObject(ref, row["instance_size"]))
    # A series that is listed again includes its failed objects.
    keys = rows["series_key"].to_pylist()
    is_retried = [retried or key in whole for retried, key in zip(is_retried, keys, strict=True)]
    work = [by_key[key] for key in whole]
    work += [
        replace(by_key[key], objects=tuple(found), instance_count=None)
        for key, found in objects.items()
        if key not in whole
    ]
    return RetriedFailures(
        commit=commit,
        series=tuple(work),
        known=_known(dataset, commit, [by_key[key] for key in whole]) if whole else frozenset(),
        _rows=rows,
        _is_retried=tuple(is_retried),
    )


def _known(dataset: Dataset, commit: Commit, series: Iterable[Series]) -> frozenset[str]:
    """URLs of these series' rows in `instances`, which compaction may have moved to other parts."""
    places = tuple(prefix.url for one in series for prefix in one.prefixes)
    named = {listed.ref.url for one in series for listed in one.objects}
    committed = {part.path for part in commit.parts if part.kind == "instances"}
    current = {part.path for part in dataset.parts("instances")}
    compacted = {path.rpartition("/")[0] for path in committed - current}
    found: set[str] = set()
    for path in current:
        if path not in committed and path.rpartition("/")[0] not in compacted:
            continue
        with dataset.storage.part_reader(path) as file:
            for batch in file.iter_batches(columns=["instance_url"]):
                urls = [url for url in batch.column(0).to_pylist() if url is not None]
                found.update(url for url in urls if url in named or url.startswith(places))
    return frozenset(found)


def _preferred_copy(ref: ObjectRef, series: Series) -> ObjectRef:
    """The same object in the cloud that the catalog prefers today."""
    if not series.prefixes:
        return ref
    return replace(ref, bucket=series.prefixes[0].bucket, scheme=series.prefixes[0].scheme)
