"""Plans as Parquet files: in the dataset, and in an unlinked temporary file while a plan is made."""

import os
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import RawIOBase, UnsupportedOperation
from itertools import accumulate, chain, groupby, pairwise
from operator import itemgetter
from typing import IO, Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.config.operating_system import read_at
from harvester.dataset.paths import plan_path, require_name
from harvester.dataset.storage import Storage
from harvester.errors import ConfigError, DatasetError
from harvester.messages import one_line, short_repr
from harvester.model import SCHEMES, ListedObject, ObjectRef, Plan, Series, Shard

_OBJECT: Final = pa.struct(
    [pa.field("address", pa.string()), pa.field("size", pa.int64()), pa.field("etag", pa.string())]
)
_SCHEMA: Final = pa.schema(
    [
        pa.field("shard", pa.string()),
        pa.field("key", pa.string()),
        pa.field("prefixes", pa.list_(pa.string())),
        pa.field("objects", pa.list_(_OBJECT)),
        pa.field("series_instance_uid", pa.string()),
        pa.field("crdc_series_uuid", pa.string()),
        pa.field("collection_id", pa.string()),
        pa.field("modality", pa.string()),
        pa.field("instance_count", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("idc_version", pa.int64()),
    ]
)

# A batch is written at this number of series or of objects; a row group is read in smaller batches.
_WRITTEN_ROWS: Final = 16_384
_WRITTEN_OBJECTS: Final = 16_384
_READ_ROWS: Final = 1024
_COPIED_BYTES: Final = 1 << 20


class _Reader(RawIOBase):
    """Reads an open file from its own position, so that several readers share one descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset += os.fstat(self._descriptor).st_size
        elif whence == os.SEEK_CUR:
            offset += self._at
        elif whence != os.SEEK_SET:
            raise UnsupportedOperation(f"whence {whence}")
        self._at = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        data = read_at(self._descriptor, len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@dataclass(frozen=True, eq=False)
class SpooledShards(Collection[Shard]):
    """Shards in an unlinked temporary file; make it by `spool`.

    Attributes:
        names: The shards' names, in order.
        series: The number of their series.
        instances: The catalog's number of instances; None if it is unknown for a series.
        has_secrets: Whether an address is a signed URL.
    """

    names: tuple[str, ...]
    series: int
    instances: int | None
    has_secrets: bool
    _descriptor: int = field(repr=False)

    def __post_init__(self) -> None:
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, shard: object) -> bool:
        return isinstance(shard, Shard) and shard in iter(self)

    def __iter__(self) -> Iterator[Shard]:
        with pq.ParquetFile(_Reader(self._descriptor)) as file:
            yield from _shards(file)

    def series_keys(self) -> Iterator[tuple[str, list[str]]]:
        """Each shard's name and the keys of its series."""
        with pq.ParquetFile(_Reader(self._descriptor)) as file:
            for name, rows in groupby(_read(file, ["shard", "key"]), key=itemgetter(0)):
                yield name, [key for _, key in rows]

    def copy_to(self, stream: BinaryIO) -> None:
        """Copy the file to a stream."""
        reader = _Reader(self._descriptor)
        while block := reader.read(_COPIED_BYTES):
            stream.write(block)


@dataclass(frozen=True, slots=True, eq=False)
class StoredShards(Collection[Shard]):
    """Shards of a plan in a dataset; iterating raises DatasetError if the file is corrupt."""

    storage: Storage
    path: str

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, shard: object) -> bool:
        return isinstance(shard, Shard) and shard in iter(self)

    def __iter__(self) -> Iterator[Shard]:
        try:
            with self.storage.parquet(self.path) as file:
                if not file.schema_arrow.equals(_SCHEMA):
                    raise pa.ArrowInvalid("another schema")
                for shard in _shards(file):
                    _require_valid(shard)
                    yield shard
        except (OSError, pa.ArrowException, ConfigError, ValueError, TypeError) as error:
            raise DatasetError(
                f"{self.storage.location}/{self.path}: corrupt plan ({one_line(error, 200)}); "
                "delete it to plan anew"
            ) from error


def spool(shards: Iterable[Shard]) -> SpooledShards:
    """Write shards to a temporary file, in bounded memory.

    Raises:
        DatasetError: A key is not Unicode text (a file name in another encoding), or the folder for
            temporary files is full.
    """
    names: list[str] = []
    series = instances = 0
    counted, has_secrets = True, False

    def counting() -> Iterator[Shard]:
        nonlocal series, instances, counted, has_secrets
        for shard in shards:
            names.append(shard.name)
            series += len(shard.series)
            for one in shard.series:
                counted = counted and one.instance_count is not None
                instances += one.instance_count or 0
                has_secrets = has_secrets or _is_secret(one)
            yield shard

    try:
        with tempfile.TemporaryFile(prefix="harvester-plan-") as file:
            _write(file, counting())
            file.flush()
            descriptor = os.dup(file.fileno())
    except OSError as error:
        raise DatasetError(
            f"{tempfile.gettempdir()}: the plan cannot be kept there ({error.strerror or error}); "
            "set TMPDIR to a folder with room"
        ) from error
    return SpooledShards(tuple(names), series, instances if counted else None, has_secrets, descriptor)


def save_plan(storage: Storage, plan: Plan) -> None:
    """Write a plan to the dataset; one of the same name is replaced.

    Raises:
        DatasetError: A key is not Unicode text (a file name in another encoding), or the file
            cannot be written.
    """
    with storage.write(plan_path(plan.name)) as stream:
        if isinstance(plan.shards, SpooledShards) and not plan.shards.has_secrets:
            plan.shards.copy_to(stream)
        else:
            _write(stream, map(_public, plan.shards))


def load_plan(storage: Storage, name: str) -> Plan | None:
    """Read a plan; None if there is none of that name. Its shards stay on disk.

    Raises:
        DatasetError: The file is corrupt.
    """
    path = plan_path(name)
    if not storage.exists(path):
        return None
    shards = StoredShards(storage, path)
    next(iter(shards), None)
    return Plan(name, shards)


def _write(stream: IO[bytes], shards: Iterable[Shard]) -> None:
    with pq.ParquetWriter(stream, _SCHEMA, compression="zstd", use_dictionary=["shard"]) as writer:
        rows: list[tuple[str, Series]] = []
        objects = 0
        for shard in shards:
            for one in shard.series:
                rows.append((shard.name, one))
                objects += len(one.objects)
                if len(rows) >= _WRITTEN_ROWS or objects >= _WRITTEN_OBJECTS:
                    writer.write_batch(_batch(rows))
                    rows, objects = [], 0
        if rows:
            writer.write_batch(_batch(rows))


def _batch(rows: list[tuple[str, Series]]) -> pa.RecordBatch:
    """Series and the names of their shards."""
    series = [one for _, one in rows]
    listed = [each for one in series for each in one.objects]
    try:
        addresses = pa.array([_address(each.ref) for each in listed], pa.string())
        sizes = pa.array([each.size for each in listed], pa.int64())
        etags = pa.array([each.etag for each in listed], pa.string())
        ends = accumulate((len(one.objects) for one in series), initial=0)
        objects = pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()),
            pa.StructArray.from_arrays([addresses, sizes, etags], fields=[*_OBJECT]),
        )
        columns: dict[str, Iterable[Any]] = {
            "shard": [name for name, _ in rows],
            "prefixes": [[_address(prefix) for prefix in one.prefixes] for one in series],
            "objects": objects,
        }
        arrays = [
            pa.array(columns.get(field.name) or [getattr(one, field.name) for one in series], field.type)
            for field in _SCHEMA
        ]
    except UnicodeEncodeError as error:
        name = error.object[:200].encode("utf-8", "backslashreplace").decode()
        raise DatasetError(f"a name in the plan is not UTF-8 ({name}); rename that file or object") from error
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _public(shard: Shard) -> Shard:
    """The shard as it is stored in a dataset, without signatures of URLs."""
    if not any(map(_is_secret, shard.series)):
        return shard
    series = (
        replace(one, objects=tuple(replace(listed, ref=listed.ref.public) for listed in one.objects))
        for one in shard.series
    )
    return replace(shard, series=tuple(series))


def _is_secret(series: Series) -> bool:
    return any(listed.ref.public is not listed.ref for listed in series.objects)


def _shards(file: pq.ParquetFile) -> Iterator[Shard]:
    """Consecutive rows of one shard's name as a shard."""
    for name, rows in groupby(_read(file), key=itemgetter(0)):
        yield Shard(name, tuple(_series(*row[1:]) for row in rows))


def _read(file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[tuple[Any, ...]]:
    for group in range(file.num_row_groups):
        batches = file.iter_batches(_READ_ROWS, row_groups=[group], columns=columns, use_threads=False)
        yield from chain.from_iterable(map(_rows, batches))


def _require_valid(shard: Shard) -> None:
    """Check a shard of a stored plan, which can come from someone else.

    Raises:
        ValueError: Its name, a key, an address or a number is not valid.
    """
    require_name(shard.name)
    for one in shard.series:
        if not one.key:
            raise ValueError(f"a series of shard {shard.name} has no key")
        refs = (*one.prefixes, *(listed.ref for listed in one.objects)) if one.objects else one.prefixes
        for ref in refs:
            if ref.scheme not in SCHEMES:  # the store checks buckets and hosts
                raise ValueError(f"scheme {short_repr(ref.scheme)} of series {short_repr(one.key)}")
        if min(one.instance_count or 0, one.size or 0, *(listed.size or 0 for listed in one.objects)) < 0:
            raise ValueError(f"a number of series {short_repr(one.key)} is negative")


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    columns = [
        _objects(column) if field.name == "objects" else column.to_pylist()
        for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    return zip(*columns, strict=True)


def _objects(column: pa.ListArray) -> Iterator[tuple[ListedObject, ...]]:
    """The objects of each series; a list of structs is read three times as fast by its columns."""
    addresses, *rest = (field.to_pylist() for field in column.values.flatten())
    for start, stop in pairwise(column.offsets.to_pylist()):
        refs = map(_ref, addresses[start:stop])
        yield tuple(map(ListedObject, refs, *(values[start:stop] for values in rest)))


def _series(key: str, prefixes: list[str], objects: tuple[ListedObject, ...], *rest: Any) -> Series:
    return Series(key, tuple(map(_ref, prefixes)), objects, *rest)


def _address(ref: ObjectRef) -> str:
    """An address that `_ref` parses, whatever is in the key; `url` encodes some keys."""
    if ref.scheme == "file":  # its name need not be UTF-8
        return ref.url
    return f"{ref.scheme}://{ref.bucket}/{ref.key}"


def _ref(address: str) -> ObjectRef:
    scheme, _, rest = address.partition("://")
    if scheme == "file":
        return ObjectRef.parse(address)
    bucket, _, key = rest.partition("/")
    return ObjectRef(bucket, key, scheme)
