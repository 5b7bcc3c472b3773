"""Plans kept beside the data, so that a killed crawl finds the same shards again."""

import gzip
import zlib

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from harvester.dataset.names import plan_path
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError
from harvester.model import Plan, Shard

_RECORD = TypeAdapter(Plan)
_SHARD = TypeAdapter(Shard)

# Level 3 takes a third of the time of level 6 for 5 % more bytes.
_LEVEL = 3


def save_plan(storage: Storage, plan: Plan) -> None:
    """Keep a plan, whole; one of the same name is replaced.

    Raises:
        DatasetError: A key is not Unicode text (a file name in another encoding), or the file
            cannot be written.
    """
    try:
        with (
            storage.write(plan_path(plan.name)) as stream,
            # No time in the gzip header: the same plan gives the same bytes.
            gzip.GzipFile("", "wb", _LEVEL, stream, mtime=0) as packed,
        ):
            # Shard by shard: as one text, a plan of many objects would take as much memory again.
            packed.write(b'{"name":' + to_json(plan.name) + b',"shards":[')
            for number, shard in enumerate(plan.shards):
                packed.write((b"," if number else b"") + _SHARD.dump_json(shard, exclude_defaults=True))
            packed.write(b"]}")
    except PydanticSerializationError as error:
        raise DatasetError(
            f"plan {plan.name}: a name in it is not UTF-8 ({error}); rename that file or object"
        ) from error


def load_plan(storage: Storage, name: str) -> Plan | None:
    """Read a plan back as it was saved, or None if there is none of that name.

    Raises:
        DatasetError: The file is corrupt.
    """
    path = plan_path(name)
    if not storage.exists(path):
        return None
    try:
        plan = _RECORD.validate_json(gzip.decompress(storage.read(path)), strict=True)
    except (ValidationError, OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{storage.location}/{path}: corrupt plan ({type(error).__name__}); delete it to plan anew"
        ) from error
    if plan.name != name:
        raise DatasetError(f"{storage.location}/{path}: holds the plan {plan.name!r}; delete it to plan anew")
    return plan
