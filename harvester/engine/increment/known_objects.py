"""The size and ETag of harvested objects, read from the dataset."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import pyarrow as pa

from harvester.catalog.clouds import canonical_url
from harvester.dataset import Dataset, TableName, Tombstones
from harvester.model import ListedObject

_COLUMNS = ("instance_url", "instance_size", "etag", "harvested_at")


@dataclass(frozen=True, slots=True)
class KnownObject:
    """An object as its row describes it.

    Attributes:
        url: Its URL in the row.
        size: In bytes; None if unknown.
        etag: None if the server gave none.
        failed: Whether the row is one of `failures`.
    """

    url: str
    size: int | None
    etag: str | None
    failed: bool


def is_unchanged(listed: ListedObject, known: KnownObject) -> bool:
    """Whether an object is unchanged since its harvest, according to its listing.

    A list of URLs has neither sizes nor ETags: its objects count as unchanged.
    """
    if listed.size is not None and known.size is not None and listed.size != known.size:
        return False
    return listed.etag is None or known.etag is None or listed.etag == known.etag


def known_objects(
    dataset: Dataset, tombstones: Tombstones, wanted: Callable[[str], bool]
) -> dict[str, KnownObject]:
    """Read the dataset's objects, superseded rows left out.

    Args:
        dataset: The dataset.
        tombstones: Its tombstones.
        wanted: Whether to include an object, by its `canonical_url`.

    Returns:
        Objects by `canonical_url`; a row of `instances` takes precedence over one of `failures`.

    Raises:
        DatasetError: A commit record is corrupt.
    """
    found: dict[str, KnownObject] = {}
    tables: tuple[TableName, ...] = ("failures", "instances")
    for table in tables:
        for part in dataset.parts(table):
            with dataset.storage.part_reader(part.path) as file:
                columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
                for batch in file.iter_batches(columns=columns):
                    _add(batch, table, tombstones, wanted, found)
    return found


def _add(
    batch: pa.RecordBatch,
    table: TableName,
    tombstones: Tombstones,
    wanted: Callable[[str], bool],
    found: dict[str, KnownObject],
) -> None:
    values = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    missing = [None] * batch.num_rows
    rows = zip(*(values.get(name, missing) for name in _COLUMNS), strict=True)
    for url, size, etag, harvested_at in rows:
        if url is None:
            continue
        name = canonical_url(url)
        until = tombstones.objects.get(url)
        if wanted(name) and (until is None or harvested_at is None or harvested_at >= until):
            found[name] = KnownObject(url, size, etag, failed=table == "failures")


def below(places: Collection[str]) -> Callable[[str], bool]:
    """A function that returns whether a URL lies below one of these prefixes."""
    prefixes = tuple(map(canonical_url, places))
    return lambda url: url.startswith(prefixes)
