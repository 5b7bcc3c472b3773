"""A bucket of synthetic CT slices of any number: keys are computed from instance numbers, and back."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.demo.layout import BUCKET
from harvester.demo.synthetic_header import OBJECT_BYTES

INSTANCES_PER_SERIES: Final = 56  # the mean of IDC

_ODD: Final = 2_654_435_761  # a multiplication by an odd number modulo 2**32 is one to one, and scatters
_UUID: Final = "([0-9a-f]{8})-0000-4000-8000-([0-9a-f]{12})"
_KEY: Final = re.compile(f"{_UUID}/{_UUID}\\.dcm")
_FOLDER: Final = re.compile(f"{_UUID}/")


class SyntheticBucket:
    """Instances in series of 56; the first digits of their keys are spread evenly, as IDC's are.

    Args:
        instances: How many.
    """

    def __init__(self, instances: int) -> None:
        if instances < 1:
            raise ValueError("a synthetic bucket needs at least one instance")
        self.instances = instances
        self.series = -(-instances // INSTANCES_PER_SERIES)

    def numbers_of(self, instance: int) -> tuple[int, int, int]:
        """The number of an instance in the bucket, of its series, and of the instance in the series."""
        return instance, instance // INSTANCES_PER_SERIES, instance % INSTANCES_PER_SERIES

    def instances_of(self, series: int) -> range:
        """The numbers of a series' instances."""
        start = series * INSTANCES_PER_SERIES
        return range(start, min(start + INSTANCES_PER_SERIES, self.instances))

    def key(self, instance: int) -> str:
        """The key of an instance."""
        return f"{_uuid(instance // INSTANCES_PER_SERIES)}/{_uuid(instance)}.dcm"

    def find(self, key: str) -> int | None:
        """The number of the instance with this key; None if there is none."""
        match = _KEY.fullmatch(key)
        if match is None:
            return None
        instance = int(match[4], 16)
        return instance if instance < self.instances and self.key(instance) == key else None

    def keys(self, prefix: str, after: str, count: int) -> list[str]:
        """The first `count` keys in order that begin with `prefix` and come after `after`."""
        folder = _FOLDER.match(prefix)
        if folder is not None:
            series = int(folder[2], 16)
            if series >= self.series or not prefix.startswith(f"{_uuid(series)}/"):
                return []
            folders: Sequence[tuple[str, int]] = [(_uuid(series), series)]
        else:
            folders = self._folders
        found: list[str] = []
        start = max(prefix, after)[:36]
        for name, series in folders[bisect_left(folders, (start, -1)) :]:
            if not f"{name}/".startswith(prefix[:37]):
                break
            keys = sorted(self.key(instance) for instance in self.instances_of(series))
            found += [key for key in keys if key > after and key.startswith(prefix)]
            if len(found) >= count:
                break
        return found[:count]

    def write_catalog(self, path: Path) -> None:
        """Write a catalog Parquet with the columns of idc-index that a crawl reads."""
        counts = [len(self.instances_of(series)) for series in range(self.series)]
        uuids = [_uuid(series) for series in range(self.series)]
        table = pa.table(
            {
                "collection_id": ["synthetic"] * self.series,
                "Modality": ["CT"] * self.series,
                "SeriesInstanceUID": [f"2.25.{2 * 10**11 + series}" for series in range(self.series)],
                "StudyInstanceUID": ["2.25.300000000001"] * self.series,
                "crdc_series_uuid": uuids,
                "series_aws_url": [f"s3://{BUCKET}/{uuid}/*" for uuid in uuids],
                "instanceCount": counts,
                "series_size_MB": [count * OBJECT_BYTES / 1e6 for count in counts],
            }
        )
        pq.write_table(table, path)

    @cached_property
    def _folders(self) -> list[tuple[str, int]]:
        return sorted((_uuid(series), series) for series in range(self.series))


def _uuid(number: int) -> str:
    return f"{number * _ODD % 2**32:08x}-0000-4000-8000-{number:012x}"
