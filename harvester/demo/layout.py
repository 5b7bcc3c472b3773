"""Gives each file of a folder a key as in IDC's buckets: `<series uuid>/<instance uuid>.dcm`."""

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

_NAMESPACE: Final = UUID("5d0f3b0e-6a3c-5f0e-9d53-7c1f0b6f7a11")  # an arbitrary namespace for uuid5
_PACKAGED: Final = {"test_files": "pydicom_test_files", "charset_files": "pydicom_charset_files"}


@dataclass(frozen=True, slots=True)
class DemoInstance:
    """A file and its key; `size` (bytes) and `modified` (ns) are those of the start."""

    key: str
    path: str
    size: int
    modified: int

    @property
    def etag(self) -> str:
        """The ETag that a listing gives, unquoted."""
        return entity_tag(self.size, self.modified)


def entity_tag(size: int, modified: int) -> str:
    """The ETag of aiohttp's FileResponse, unquoted: it changes with a file's size or time."""
    return f"{modified:x}-{size:x}"


@dataclass(frozen=True, slots=True)
class DemoSeries:
    """The files of one collection that share SeriesInstanceUID and Modality.

    `attributes` are those of the first file by name, by DICOM keyword. Files that pydicom can't read have
    none; those of one collection form one series.
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
    """The content of a demo bucket: series ordered by collection and uuid."""

    series: tuple[DemoSeries, ...]

    @property
    def instances(self) -> Iterator[DemoInstance]:
        """The instances of all series."""
        return (instance for series in self.series for instance in series.instances)


@dataclass(frozen=True, slots=True)
class _FoundFile:
    name: str  # relative to the folder, with "/" on every platform
    path: str
    collection_id: str
    size: int
    modified: int


def lay_out(root: Path | None = None) -> DemoLayout:
    """Find files, group them into series and give each a key that is the same on every run.

    Reads 64 KiB of each file (about 0.5 ms), or up to 16 MiB if its header is longer. Symbolic links below
    the root are not followed, so no file outside of it is served.

    Args:
        root: Every regular file below this folder is served, DICOM or not; the folders directly in it are
            the collections. None: the DICOM files of the installed pydicom package.

    Raises:
        ConfigError: The root is not a folder, has no file below it, or a folder in it can't be read.
    """
    found = list(_packaged_files() if root is None else _files_of(root))
    if not found:
        raise ConfigError(f"{root or 'pydicom'}: no regular file below this folder, nothing to serve")
    return DemoLayout(series=tuple(_group(sorted(found, key=lambda file: file.name))))


def _packaged_files() -> Iterator[_FoundFile]:
    data = Path(str(files("pydicom") / "data"))
    for folder, collection_id in _PACKAGED.items():
        # Some installers link a package's files to a cache.
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
    """One series for each collection, SeriesInstanceUID and Modality (PS3.3 C.7.3.1)."""
    groups: dict[tuple[str, str, str], list[_FoundFile]] = {}
    first: dict[tuple[str, str, str], Mapping[str, str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns about broken files
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
    """Files without a SeriesInstanceUID share only the attribute that groups them."""
    return {keyword: attributes[keyword] for keyword in ("Modality",) if keyword in attributes}


def _instance(crdc_series_uuid: str, file: _FoundFile) -> DemoInstance:
    key = f"{crdc_series_uuid}/{_uuid('instance', file.collection_id, file.name)}.dcm"
    return DemoInstance(key, file.path, file.size, file.modified)


def _uuid(*names: str) -> str:
    # A file name may be invalid UTF-8.
    text = "\0".join(names).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return str(uuid5(_NAMESPACE, text))
