"""Download manifests for s5cmd, as the IDC portal and idc-index write them, read for what they name."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harvester.catalog.clouds import copies, is_idc_bucket, parse_prefix, series_uuid
from harvester.catalog.grouping import by_folder
from harvester.catalog.textfile import lines
from harvester.config import Provider
from harvester.errors import ConfigError
from harvester.model import ListedObject, ObjectRef

# What nearly every line looks like: reading it by shell rules instead takes 30 times as long.
_PLAIN = re.compile(r"(?:(?:cp|sync) )?((?:s3|gs)://[^\s\"'\\]+)(?: [^\"'\\]*)?")


@dataclass(frozen=True, slots=True)
class ManifestSeries:
    """One series that a manifest names: all of it, or some of its objects.

    `place` is its address and a closing `*`; `uuid` the CRDC series UUID that the folder is named by.
    """

    key: str
    place: str
    uuid: str | None
    objects: tuple[ListedObject, ...] = ()

    @property
    def object_count(self) -> int | None:
        """How many objects are named; None for the whole series."""
        return len(self.objects) or None


def read_manifest(path: Path, providers: tuple[Provider, ...]) -> list[ManifestSeries]:
    """Read `cp s3://BUCKET/UUID/* FOLDER` lines, quoted or not, with or without the command and flags.

    Both clouds' bucket names are understood: portal manifests for Google Cloud say `s3://` too, since
    s5cmd reaches it by its endpoint. A line may name one object, as manifests of single slides do.

    Args:
        path: The manifest.
        providers: Where to read single objects of IDC's buckets: the first one's copy is named.

    Raises:
        ConfigError: The file cannot be read or a line names no object; says which line.
    """
    whole: dict[str, ManifestSeries] = {}
    single: dict[str, ListedObject] = {}
    for number, text in lines(path):
        try:
            address = _address(text)
            ref = parse_prefix(address)
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{path}:{number}: {error}") from None
        if not ref.key:
            raise ConfigError(f"{path}:{number}: {address!r} names a whole bucket; put it in select.prefixes")
        if address.endswith(("/", "*")):
            series = _whole(ref)
            whole.setdefault(series.key, series)
        else:
            copy = _copy(ref, providers)
            single[copy.url] = ListedObject(copy, size=None)
    return [*whole.values(), *_parts(whole, single.values())]


def _address(text: str) -> str:
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        return plain[1]
    for word in shlex.split(text):
        if word.startswith(("s3://", "gs://")):
            return word
    raise ConfigError(f"{text[:80]!r} names nothing in a bucket; expected: cp s3://BUCKET/UUID/* FOLDER")


def _whole(prefix: ObjectRef) -> ManifestSeries:
    prefix = _by_aws_name(prefix)
    return ManifestSeries(_key(prefix), f"{prefix.url}*", series_uuid(prefix.key))


def _key(prefix: ObjectRef) -> str:
    """What names a series: in IDC's buckets its UUID alone, since a series can move from one to another."""
    uuid = series_uuid(prefix.key)
    return uuid if uuid is not None and is_idc_bucket(prefix.bucket) else prefix.url


def _by_aws_name(ref: ObjectRef) -> ObjectRef:
    """Both clouds' names of one of IDC's places as one."""
    return copies(ref.bucket, ref.key, ("aws",))[0] if is_idc_bucket(ref.bucket) else ref


def _copy(ref: ObjectRef, providers: tuple[Provider, ...]) -> ObjectRef:
    if ref.scheme == "gs" and not is_idc_bucket(ref.bucket):
        return ref
    return copies(ref.bucket, ref.key, providers)[0]


def _parts(whole: dict[str, ManifestSeries], single: Iterable[ListedObject]) -> Iterable[ManifestSeries]:
    """Single objects by folder, without those whose whole series is named as well."""
    for series in by_folder(single):
        ref = series.objects[0].ref
        folder = _by_aws_name(replace(ref, key=ref.key.rpartition("/")[0] + "/"))
        if _key(folder) not in whole:
            yield ManifestSeries(series.key, f"{folder.url}*", series_uuid(folder.key), series.objects)
