"""Failures that are taken again: which objects they are of, and what of a shard's commit stays."""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from harvester.dataset import FAILURE_COLUMNS, Commit, Dataset
from harvester.errors import HarvestError
from harvester.model import Failure, ListedObject, ObjectRef, Series

# These say of a whole series what is wrong: it is listed again.
_OF_A_SERIES: Final = frozenset({"listing", "incomplete_series"})
_PASSING_STATUS: Final = frozenset({408, 429})


def _transient_reasons(error: type[HarvestError]) -> frozenset[str]:
    here = frozenset({error.reason} if error.transient else ())
    return here.union(*(_transient_reasons(one) for one in error.__subclasses__()))


_TRANSIENT: Final = _transient_reasons(HarvestError)


def may_pass(reason: str, status: int | None) -> bool:
    """Whether what failed may succeed if it is only asked for again later."""
    if reason == "listing":
        return status is None or status >= 500 or status in _PASSING_STATUS
    return reason in _TRANSIENT


@dataclass(frozen=True, slots=True)
class RetriedFailures:
    """The failures of one commit that are taken again; make it by `find_failed`.

    Attributes:
        commit: The commit that will be replaced.
        series: What to harvest: series with their failed objects named, or to be listed again.
        known: Addresses of objects that have a row in `instances`: a listing finds them again.
    """

    commit: Commit
    series: tuple[Series, ...]
    known: frozenset[str]
    _rows: pa.Table
    _retried: tuple[bool, ...]

    def retried(self, done: Container[str]) -> int:
        """How many rows go, if these series are done."""
        return sum(again and key in done for again, key in zip(self._retried, self._keys(), strict=True))

    def kept(self, done: Container[str]) -> pa.Table:
        """The rows that stay, if these series are done."""
        stays = [not again or key not in done for again, key in zip(self._retried, self._keys(), strict=True)]
        return self._rows.filter(pa.array(stays, pa.bool_()))

    def counts(self, series: str, instances: int, failures: int) -> tuple[int, int]:
        """How many instances and failures a series has, if taking it again gave so many."""
        before = self.commit.counts.get(series, (0, 0))
        rows = zip(self._retried, self._keys(), strict=True)
        return before[0] + instances, failures + sum(not again and key == series for again, key in rows)

    def tried(self, failures: Iterable[Failure]) -> list[Failure]:
        """The failures with the attempts of earlier times added."""
        attempts = dict(
            zip(self._rows["instance_url"].to_pylist(), self._rows["attempts"].to_pylist(), strict=True)
        )
        return [replace(one, attempts=one.attempts + (attempts.get(one.url) or 0)) for one in failures]

    def _keys(self) -> list[str | None]:
        keys: list[str | None] = self._rows["series_key"].to_pylist()
        return keys


def find_failed(
    dataset: Dataset, commit: Commit, series: Iterable[Series], *, transient_only: bool = False
) -> RetriedFailures:
    """Read which objects of these series failed, according to one commit.

    Args:
        dataset: Where the commit is.
        commit: The commit.
        series: Those of its series that are to be taken again, as a catalog names them today.
        transient_only: Leave out what will fail again if it is only asked for again.

    Raises:
        DatasetError: A part cannot be read.
    """
    by_key = {one.key: one for one in series}
    rows = _rows(dataset, commit)
    retried = []
    whole: set[str] = set()
    objects: dict[str, list[ListedObject]] = {}
    for row in rows.select(["series_key", "reason", "status", "instance_url", "instance_size"]).to_pylist():
        key, reason = row["series_key"], row["reason"]
        again = key in by_key and (not transient_only or may_pass(reason, row["status"]))
        retried.append(again)
        if again and reason in _OF_A_SERIES:
            whole.add(key)
        elif again:
            ref = _at_first_place(ObjectRef.parse(row["instance_url"]), by_key[key])
            objects.setdefault(key, []).append(ListedObject(ref, row["instance_size"]))
    # Whoever lists a series again finds its failed objects, too.
    listed = rows["series_key"].to_pylist()
    retried = [again or key in whole for again, key in zip(retried, listed, strict=True)]
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
        _retried=tuple(retried),
    )


def _rows(dataset: Dataset, commit: Commit) -> pa.Table:
    tables = [
        dataset.storage.parquet(part.path).read().cast(FAILURE_COLUMNS)
        for part in commit.parts
        if part.kind == "failures"
    ]
    return pa.concat_tables([FAILURE_COLUMNS.empty_table(), *tables])


def _known(dataset: Dataset, commit: Commit, series: Iterable[Series]) -> frozenset[str]:
    """Addresses of these series' rows in `instances`, which a compaction may have moved elsewhere."""
    places = tuple(prefix.url for one in series for prefix in one.prefixes)
    named = {listed.ref.url for one in series for listed in one.objects}
    mine = {part.path for part in commit.parts if part.kind == "instances"}
    there = {part.path for part in dataset.parts("instances")}
    moved = {path.rpartition("/")[0] for path in mine - there}
    found: set[str] = set()
    for path in there:
        if path not in mine and path.rpartition("/")[0] not in moved:
            continue
        file = dataset.storage.parquet(path)
        for batch in file.iter_batches(columns=["instance_url"]):
            urls = batch.column(0).to_pylist()
            found.update(url for url in urls if url in named or url.startswith(places))
    return frozenset(found)


def _at_first_place(ref: ObjectRef, series: Series) -> ObjectRef:
    """The same object where the catalog would have it read first today: another cloud, maybe."""
    if not series.prefixes:
        return ref
    return replace(ref, bucket=series.prefixes[0].bucket, scheme=series.prefixes[0].scheme)
