"""What a dataset knows of objects: their size and ETag when they were harvested."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import pyarrow as pa

from harvester.catalog.clouds import canonical_url
from harvester.dataset import Dataset, TableName, Tombstones
from harvester.model import ListedObject

_COLUMNS = ("instance_url", "instance_size", "etag", "harvested_at")


@dataclass(frozen=True, slots=True)
class KnownObject:
    """An object as a row tells of it.

    Attributes:
        url: Its address in the row.
        size: In bytes, None where nobody said.
        etag: None where the server had none.
        failed: Whether the row is one of `failures`.
    """

    url: str
    size: int | None
    etag: str | None
    failed: bool


def is_unchanged(listed: ListedObject, known: KnownObject) -> bool:
    """Whether an object still is what was harvested, as far as its listing tells.

    A list of addresses tells nothing: what it names is taken for unchanged.
    """
    if listed.size is not None and known.size is not None and listed.size != known.size:
        return False
    return listed.etag is None or known.etag is None or listed.etag == known.etag


def known_objects(
    dataset: Dataset, marks: Tombstones, wanted: Callable[[str], bool]
) -> dict[str, KnownObject]:
    """Read what is known of objects, superseded rows left out.

    Args:
        dataset: Where.
        marks: Its marks.
        wanted: Says of an object's `canonical_url` whether it is asked for.

    Returns:
        By `canonical_url`; a row of `instances` goes before one of `failures`.

    Raises:
        DatasetError: A commit record is corrupt.
    """
    found: dict[str, KnownObject] = {}
    kinds: tuple[TableName, ...] = ("failures", "instances")
    for kind in kinds:
        for part in dataset.parts(kind):
            with dataset.storage.parquet(part.path) as file:
                columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
                for batch in file.iter_batches(columns=columns):
                    _take(batch, kind, marks, wanted, found)
    return found


def _take(
    batch: pa.RecordBatch,
    kind: TableName,
    marks: Tombstones,
    wanted: Callable[[str], bool],
    found: dict[str, KnownObject],
) -> None:
    values = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    nothing = [None] * batch.num_rows
    rows = zip(*(values.get(name, nothing) for name in _COLUMNS), strict=True)
    for url, size, etag, harvested_at in rows:
        if url is None:
            continue
        name = canonical_url(url)
        until = marks.objects.get(url)
        if wanted(name) and (until is None or harvested_at is None or harvested_at >= until):
            found[name] = KnownObject(url, size, etag, failed=kind == "failures")


def below(places: Collection[str]) -> Callable[[str], bool]:
    """Whether an address lies below one of these."""
    beginnings = tuple(map(canonical_url, places))
    return lambda url: url.startswith(beginnings)
