"""What a compaction replaces stays for those who opened the dataset before it.

Such a reader finds its parts through `_harvest/generations/<n>/<table>`, a link that leads to the table's
folder. A compaction first gathers the parts that the table has by then under `_harvest/replaced/<n>`, as
further names of the same files, and turns the link there; only then does it touch the table's folder.
"""

import os
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from harvester.dataset.commits import Part
from harvester.dataset.paths import GENERATIONS, REPLACED, STAGED, TableName
from harvester.dataset.snapshot import Record
from harvester.dataset.storage import LocalStorage, sync_folder
from harvester.errors import DatasetError

# Failures are few, and are replaced commit by commit when they are taken again: they are not compacted.
COMPACTED_TABLES: Final[tuple[TableName, ...]] = ("instances", "frames")


def link_generation(storage: LocalStorage, generation: int) -> None:
    """Let a generation's readers go to the folders of the tables.

    Raises:
        DatasetError: A link cannot be made.
    """
    for kind in COMPACTED_TABLES:
        # Some tools stumble over a link that leads nowhere.
        storage.make_folder(kind)
        _link(storage, generation, kind, f"../../../{kind}")


def link_to_replaced(storage: LocalStorage, generation: int) -> None:
    """Let a generation's readers go to the parts that were kept for them.

    Raises:
        DatasetError: A link cannot be made.
    """
    for kind in COMPACTED_TABLES:
        _link(storage, generation, kind, f"../../../{REPLACED}/{generation}/{kind}")


def keep_parts(storage: LocalStorage, generation: int, parts: Iterable[Part]) -> None:
    """Give the parts of a generation a second name each, where its readers will go.

    Raises:
        DatasetError: A part is missing, or the file system has no hard links.
    """
    folder = storage.root / REPLACED / str(generation)
    storage.delete_folder(f"{REPLACED}/{generation}")
    try:
        for kind in COMPACTED_TABLES:
            (folder / kind).mkdir(parents=True)
        made = {folder}
        for part in (part for part in parts if part.kind in COMPACTED_TABLES):
            target = folder / part.path
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            os.link(storage.root / part.path, target)
        for place in made:
            sync_folder(place)
    except OSError as error:
        raise DatasetError(
            f"{folder}: parts cannot be kept for those who read them ({error.strerror or error}); "
            "this needs a file system with hard links"
        ) from error


def drop_generations(storage: LocalStorage, record: Record, now: datetime) -> None:
    """Delete the parts of generations whose time is over, and what a compaction without end began to keep.

    Raises:
        DatasetError: Something cannot be deleted.
    """
    replaced = storage.root / REPLACED
    for name in sorted(one.name for one in replaced.iterdir()) if replaced.is_dir() else ():
        if not is_over(name, record, now):
            continue
        if int(name) != record.generation:
            storage.delete_folder(f"{GENERATIONS}/{name}")
        storage.delete_folder(f"{REPLACED}/{name}")


def is_over(name: str, record: Record, now: datetime) -> bool:
    """Whether what is kept in the folder of this name need not be kept any longer."""
    return name.isdecimal() and record.kept.get(int(name), now) <= now


def _link(storage: LocalStorage, generation: int, kind: TableName, target: str) -> None:
    place = storage.root / GENERATIONS / str(generation) / kind
    if place.is_symlink() and str(place.readlink()) == target:
        return
    # Whatever is staged goes after a kill; in the folder of unfinished files nobody would look for a link.
    temporary = storage.root / STAGED / f"{secrets.token_hex(16)}.tmp"
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.symlink_to(target)
        temporary.replace(place)
        sync_folder(place.parent)
    except OSError as error:
        raise DatasetError(f"{place}: cannot be linked ({error.strerror or error})") from error
