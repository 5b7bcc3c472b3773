"""A folder of DICOM files as IDC lays out its buckets: `<series uuid>/<instance uuid>.dcm`."""

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from harvester.demo.attributes import read_attributes
from harvester.errors import ConfigError

BUCKET: Final = "idc-open-data"  # the one name that IDC's buckets share on AWS and GCS

_NAMES: Final = UUID("5d0f3b0e-6a3c-5f0e-9d53-7c1f0b6f7a11")  # any fixed one: it makes the keys our own
_PACKAGED: Final = {"test_files": "pydicom_test_files", "charset_files": "pydicom_charset_files"}


@dataclass(frozen=True, slots=True)
class DemoInstance:
    """One file and the key it is served under; `size` (bytes) and `modified` (ns) as found at the start."""

    key: str
    path: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class DemoSeries:
    """The files of one collection that share SeriesInstanceUID and Modality.

    `attributes` are the first file's (in the order of names), by DICOM keyword; a file that pydicom refuses
    has none, and all such files of a collection make up one series.
    """

    collection_id: str
    crdc_series_uuid: str
    attributes: Mapping[str, str]
    instances: tuple[DemoInstance, ...]

    @property
    def size(self) -> int:
        """Bytes of all its instances."""
        return sum(instance.size for instance in self.instances)


@dataclass(frozen=True, slots=True)
class DemoLayout:
    """What a demo bucket holds: series in the order of their collections and uuids."""

    series: tuple[DemoSeries, ...]

    @property
    def instances(self) -> Iterator[DemoInstance]:
        """The instances of all series."""
        return (instance for series in self.series for instance in series.instances)


@dataclass(frozen=True, slots=True)
class _FoundFile:
    name: str  # below the folder, with "/" on every platform
    path: str
    collection_id: str
    size: int
    modified: int


def lay_out(root: Path | None = None) -> DemoLayout:
    """Find files, group them into series and give each a key that is the same on every run.

    Costs one open and one read of 64 KiB for each file , together about 0.5 ms, and up to 16 MiB for the rare
    header whose first attributes go beyond that. Symbolic links below the root are not followed, so what
    lies elsewhere is not served.

    Args:
        root: Every regular file below this folder, DICOM or not; its collections are the folders directly in
            it. None: the DICOM files that the installed pydicom package carries.

    Raises:
        ConfigError: The root is no folder, has no file below it, or a folder in it can't be read.
    """
    found = list(_packaged_files() if root is None else _files_of(root))
    if not found:
        raise ConfigError(f"{root or 'pydicom'}: no regular file below this folder, nothing to serve")
    return DemoLayout(series=tuple(_group(sorted(found, key=lambda file: file.name))))


def _packaged_files() -> Iterator[_FoundFile]:
    data = Path(str(files("pydicom") / "data"))
    for folder, collection_id in _PACKAGED.items():
        # An installer may have linked a package's files to its cache.
        for entry in _walk(data / folder, follow_file_links=True):
            path = os.path.realpath(entry.path)
            if entry.name.endswith(".dcm") or _has_dicom_prefix(path):
                yield _found(entry, data, path, collection_id)


def _has_dicom_prefix(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(132)[128:] == b"DICM"  # PS3.10 7.1


def _files_of(root: Path) -> Iterator[_FoundFile]:
    if not root.is_dir():
        raise ConfigError(f"{root}: not a folder; name one that holds DICOM files")
    folder = root.resolve()
    for entry in _walk(folder, follow_file_links=False):
        parts = Path(entry.path).relative_to(folder).parts
        collection = parts[0] if len(parts) > 1 else folder.name
        yield _found(entry, folder, entry.path, _safe_collection_id(collection))


def _walk(folder: Path, *, follow_file_links: bool) -> Iterator["os.DirEntry[str]"]:
    waiting = [str(folder)]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=follow_file_links):
                        yield entry
        except OSError as error:
            raise ConfigError(f"{current}: {error.strerror}; every folder must be readable") from error


def _found(entry: "os.DirEntry[str]", folder: Path, path: str, collection_id: str) -> _FoundFile:
    status = entry.stat()
    name = Path(entry.path).relative_to(folder).as_posix()
    return _FoundFile(name, path, collection_id, status.st_size, status.st_mtime_ns)


def _safe_collection_id(folder: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "_", folder.lower()).strip("_") or "files"


def _group(found: Iterable[_FoundFile]) -> Iterator[DemoSeries]:
    """A series for each collection, SeriesInstanceUID and Modality: it has but one (PS3.3 C.7.3.1)."""
    groups: dict[tuple[str, str, str], list[_FoundFile]] = {}
    first: dict[tuple[str, str, str], Mapping[str, str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of files that are broken on purpose
        for file in found:
            attributes = read_attributes(file.path)
            uid, modality = attributes.get("SeriesInstanceUID", ""), attributes.get("Modality", "")
            group = (file.collection_id, uid, modality)
            first.setdefault(group, attributes if uid else _without_identity(attributes))
            groups.setdefault(group, []).append(file)
    named = {group: _uuid("series", *group) for group in groups}
    for group in sorted(groups, key=lambda group: (group[0], named[group])):
        yield DemoSeries(
            collection_id=group[0],
            crdc_series_uuid=named[group],
            attributes=first[group],
            instances=tuple(_instance(named[group], file) for file in groups[group]),
        )


def _without_identity(attributes: Mapping[str, str]) -> Mapping[str, str]:
    """Files without a series have nothing in common but what groups them."""
    return {keyword: attributes[keyword] for keyword in ("Modality",) if keyword in attributes}


def _instance(crdc_series_uuid: str, file: _FoundFile) -> DemoInstance:
    key = f"{crdc_series_uuid}/{_uuid('instance', file.collection_id, file.name)}.dcm"
    return DemoInstance(key, file.path, file.size, file.modified)


def _uuid(*names: str) -> str:
    # A file's name need not be UTF-8.
    text = "\0".join(names).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return str(uuid5(_NAMES, text))
