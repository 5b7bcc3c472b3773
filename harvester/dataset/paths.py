"""The names and paths of a dataset's files, and which files are harvester's."""

import hashlib
import re
from typing import Literal, NamedTuple, get_args
from urllib.parse import quote

TableName = Literal["instances", "frames", "failures"]

TABLES: tuple[TableName, ...] = get_args(TableName)
PRIVATE = "_harvest"
TEMPORARY = f"{PRIVATE}/unfinished"
COMMITS = f"{PRIVATE}/commits"
PLANS = f"{PRIVATE}/plans"
RUNS = f"{PRIVATE}/runs"
MARKER = f"{PRIVATE}/dataset.json"
LOCK = f"{PRIVATE}/lock"
LEASE = f"{PRIVATE}/lock.json"  # the lock of a dataset in a bucket
OPEN = f"{PRIVATE}/open"  # a record of each shard that has parts and no commit yet
OPEN_RECORDED = f"{PRIVATE}/open.json"  # says that there is one of every such shard: so in new datasets
SNAPSHOT = f"{PRIVATE}/snapshot.json"
MARKS = f"{PRIVATE}/marks.parquet"

# Of a compaction: the new parts before they are published, the snapshot with them, and the parts that they
# replace, by generation. Earlier versions of harvester made links to those.
STAGED = f"{PRIVATE}/staged"
NEXT_SNAPSHOT = f"{PRIVATE}/snapshot.next.json"
REPLACED = f"{PRIVATE}/replaced"
GENERATIONS = f"{PRIVATE}/generations"

# Hive, DuckDB and pyarrow read this folder name as NULL.
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"

# File systems bound one path component to 255 bytes; "collection_id=" takes 14 of them.
MAXIMUM_ENCODED_VALUE = 200

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
# Crawls and shards are named by 16 hexadecimal digits, a trial harvest of a shard with `-trial` behind them:
# no file of anyone else is taken for a part.
_SHARD = r"[0-9a-f]{16}\.[0-9a-f]{16}(?:-trial)?"
_PART = re.compile(rf"(?:{_SHARD}|compacted\.g[0-9]{{1,9}})\.[0-9]{{1,6}}\.parquet")
_TEMPORARY = re.compile(r"[0-9a-f]{32}\.tmp")
_VALUE = r"[A-Za-z0-9_.~%-]{0,200}"
_PARTITION = re.compile(rf"collection_id={_VALUE}/Modality={_VALUE}")
_STAMPED = r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[A-Za-z0-9_-]{1,100}"
_COPY = re.compile(rf"(?:{STAGED}|{REPLACED}/[0-9]{{1,9}})/(.*)")
_RECORDS = (MARKER, OPEN_RECORDED, LOCK, LEASE, SNAPSHOT, NEXT_SNAPSHOT, MARKS)
_OWNED = re.compile(
    rf"""(?x) {COMMITS}/{_NAME.pattern}\.{_NAME.pattern}\.json | {PLANS}/{_NAME.pattern}\.plan
    | {OPEN}/{_SHARD}\.json | {TEMPORARY}/{_TEMPORARY.pattern} | {STAGED}/{_TEMPORARY.pattern}
    | {RUNS}/{_STAMPED}\.json | {PRIVATE}/audits/{_STAMPED}/[a-z]+\.(?:parquet|json)
    | {GENERATIONS}/[0-9]{{1,9}}/(?:instances|frames)"""
)


class Partition(NamedTuple):
    """The partition values of a part of `instances` or `frames`; None is NULL."""

    collection_id: str | None
    modality: str | None

    @property
    def path(self) -> str:
        """The partition's folders, in Hive's style: `collection_id=nlst/Modality=CT`."""
        return f"collection_id={encode_value(self.collection_id)}/Modality={encode_value(self.modality)}"


def encode_value(value: str | None) -> str:
    """Percent-encode one partition value, so that DuckDB and pyarrow decode it to the same text.

    A value whose encoding is longer than 200 bytes is cut, and a hash of the whole value is appended. Its
    partition column is then the cut text; the column in the file has the whole value.
    """
    if value is None:
        return NULL_PARTITION
    encoded = quote(value, safe="", errors="replace")
    if encoded == NULL_PARTITION:  # a value that equals Hive's name of NULL
        encoded = encoded.replace("_", "%5F", 1)
    if len(encoded) <= MAXIMUM_ENCODED_VALUE:
        return encoded
    digest = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:16]
    room = MAXIMUM_ENCODED_VALUE - len(digest) - 1
    kept = ""
    for character in value[:room]:
        step = quote(character, safe="", errors="replace")
        if len(kept) + len(step) > room:
            break
        kept += step
    return f"{kept}~{digest}"


def require_name(name: str) -> str:
    """Return a crawl's or a shard's name if it can be part of a file name.

    Raises:
        ValueError: It holds anything but 1 to 100 letters, digits, `_` and `-`.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a file: 1 to 100 letters, digits, '_' and '-'")
    return name


def part_name(crawl: str, shard: str, number: int = 0) -> str:
    """Name a part after its crawl and shard; a repeated shard gives the same names.

    Neither name can hold a dot, so no two shards share a part's name.
    """
    return f"{require_name(crawl)}.{require_name(shard)}.{number}.parquet"


def compacted_name(generation: int, number: int) -> str:
    """Name a part of a compaction, by the generation that it makes."""
    return f"compacted.g{generation}.{number}.parquet"


def shard_of_part(path: str) -> str:
    """What a part is named after: `<crawl>.<shard>`, or `compacted.g<generation>`."""
    return path.rpartition("/")[2].rsplit(".", 2)[0]


def number_of_part(path: str) -> int:
    """A part's number among those of its shard and folder."""
    return int(path.rsplit(".", 2)[1])


def generation_of_part(path: str) -> int:
    """The generation of a part that a compaction wrote; 0 for a part of a crawl."""
    name = shard_of_part(path)
    return int(name.removeprefix("compacted.g")) if name.startswith("compacted.g") else 0


def part_path(kind: TableName, name: str, partition: Partition | None = None) -> str:
    """The path of a part; `failures` has no partitions, the other two need one."""
    if (partition is None) != (kind == "failures"):
        raise ValueError(f"{kind}: only parts of instances and frames lie in a partition")
    return f"{kind}/{name}" if partition is None else f"{kind}/{partition.path}/{name}"


def split_path(path: str) -> tuple[str, str]:
    """The folder of a file, and its name in there."""
    folder, _, name = path.rpartition("/")
    return folder, name


def is_part_path(path: str) -> bool:
    """Whether a path is one of a part of a crawl or of a compaction."""
    kind, _, rest = path.partition("/")
    if kind == "failures":
        return _PART.fullmatch(rest) is not None
    partition, _, name = rest.rpartition("/")
    return (
        kind in TABLES and _PARTITION.fullmatch(partition) is not None and _PART.fullmatch(name) is not None
    )


def is_owned(path: str) -> bool:
    """Whether harvester may write, move or delete a file: its path has the exact form of a dataset file."""
    copied = _COPY.fullmatch(path)
    if copied is not None and is_part_path(copied[1].replace(".aside/", "/")):
        return True
    return path in _RECORDS or is_part_path(path) or _OWNED.fullmatch(path) is not None


def is_temporary_path(path: str) -> bool:
    """Whether a path is that of a file that was being written."""
    folder, _, name = path.rpartition("/")
    return folder == TEMPORARY and _TEMPORARY.fullmatch(name) is not None


def commit_path(crawl: str, shard: str) -> str:
    """The path of a shard's commit record."""
    return f"{COMMITS}/{require_name(crawl)}.{require_name(shard)}.json"


def open_path(crawl: str, shard: str) -> str:
    """The path of the record of a shard that has parts and no commit yet."""
    return f"{OPEN}/{require_name(crawl)}.{require_name(shard)}.json"


def plan_path(plan: str) -> str:
    """The path of a plan: Parquet under another extension, so that no glob takes it for rows."""
    return f"{PLANS}/{require_name(plan)}.plan"
