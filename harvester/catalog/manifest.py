"""Reads s5cmd download manifests, as the IDC portal and idc-index write them."""

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

# Matches nearly every line: parsing by shell rules takes 30 times as long.
_PLAIN = re.compile(r"(?:(?:cp|sync) )?((?:s3|gs)://[^\s\"'\\]+)(?: [^\"'\\]*)?")


@dataclass(frozen=True, slots=True)
class ManifestSeries:
    """One series of a manifest, or some of its objects.

    Attributes:
        key: The series' key.
        place: Its URL with a closing `*`.
        uuid: The CRDC series UUID in the folder's name.
        objects: The named objects; empty for the whole series.
    """

    key: str
    place: str
    uuid: str | None
    objects: tuple[ListedObject, ...] = ()

    @property
    def object_count(self) -> int | None:
        """Number of named objects; None for the whole series."""
        return len(self.objects) or None


def read_manifest(path: Path, providers: tuple[Provider, ...]) -> list[ManifestSeries]:
    """Read `cp s3://BUCKET/UUID/* FOLDER` lines, quoted or not, with or without the command and flags.

    Bucket names of both clouds are accepted: manifests for Google Cloud have `s3://`, too, as s5cmd uses its
    S3 endpoint. A line may name one object, as manifests of single slides do.

    Args:
        path: The manifest.
        providers: The first one's copy is used for single objects of IDC's buckets.

    Raises:
        ConfigError: The file cannot be read, or a line names no object; the message has the line.
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
    raise ConfigError(f"{text[:80]!r} names no object in a bucket; expected: cp s3://BUCKET/UUID/* FOLDER")


def _whole(prefix: ObjectRef) -> ManifestSeries:
    prefix = _by_aws_name(prefix)
    return ManifestSeries(_key(prefix), f"{prefix.url}*", series_uuid(prefix.key))


def _key(prefix: ObjectRef) -> str:
    """The series' key: its UUID in IDC's buckets, between which a series can move, else its URL."""
    uuid = series_uuid(prefix.key)
    return uuid if uuid is not None and is_idc_bucket(prefix.bucket) else prefix.url


def _by_aws_name(ref: ObjectRef) -> ObjectRef:
    """The AWS copy of an object or folder of IDC; others unchanged."""
    return copies(ref.bucket, ref.key, ("aws",))[0] if is_idc_bucket(ref.bucket) else ref


def _copy(ref: ObjectRef, providers: tuple[Provider, ...]) -> ObjectRef:
    if not is_idc_bucket(ref.bucket):
        return ref
    return copies(ref.bucket, ref.key, providers)[0]


def _parts(whole: dict[str, ManifestSeries], single: Iterable[ListedObject]) -> Iterable[ManifestSeries]:
    """Single objects by folder, without those whose whole series is named, too."""
    for series in by_folder(single):
        ref = series.objects[0].ref
        folder = _by_aws_name(replace(ref, key=ref.key.rpartition("/")[0] + "/"))
        if _key(folder) not in whole:
            yield ManifestSeries(series.key, f"{folder.url}*", series_uuid(folder.key), series.objects)
