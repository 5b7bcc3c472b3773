"""Groups single objects into series by folder, as units of work and commit."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from harvester.catalog.clouds import is_idc_bucket, series_uuid
from harvester.model import ListedObject, Series

OBJECTS_PER_SERIES = 1000
"""A folder of more objects becomes several series, so that no shard has to hold them all."""


def by_folder(objects: Iterable[ListedObject]) -> Iterator[Series]:
    """Group objects by folder, in the order of their URLs.

    The key of such a series is its folder and a hash of its objects: with other objects or sizes it is
    another series, in another shard.
    """
    folder: str | None = None
    held: list[ListedObject] = []
    for listed in sorted(objects, key=split):
        here, _ = split(listed)
        if held and (here != folder or len(held) == OBJECTS_PER_SERIES):
            yield series_of(folder or "", held)
            held = []
        folder = here
        held.append(listed)
    if held:
        yield series_of(folder or "", held)


def split(listed: ListedObject) -> tuple[str, str]:
    """An object's folder, with the closing slash, and its name."""
    folder, slash, name = listed.ref.url.rpartition("/")
    return folder + slash, name


def series_of(folder: str, objects: Sequence[ListedObject], key: str | None = None) -> Series:
    """One series of objects in the same folder.

    Args:
        folder: The folder.
        objects: Its objects.
        key: Their `series_key`, where it is known.
    """
    if key is None:
        key = series_key(folder, ((listed.ref.url, listed.size, listed.etag) for listed in objects))
    sizes = [listed.size for listed in objects if listed.size is not None]
    return Series(
        key=key,
        objects=tuple(objects),
        crdc_series_uuid=series_uuid(folder) if is_idc_bucket(objects[0].ref.bucket) else None,
        instance_count=len(objects),
        size=sum(sizes) if len(sizes) == len(objects) else None,
    )


def series_key(folder: str, objects: Iterable[tuple[str, int | None, str | None]]) -> str:
    """The key of `series_of`: the folder and a hash of each object's URL, size and ETag."""
    versions = "".join(
        f"{url}\0{size}\n" if etag is None else f"{url}\0{size}\0{etag}\n" for url, size, etag in objects
    )
    return f"{folder}#{hashlib.sha256(versions.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
