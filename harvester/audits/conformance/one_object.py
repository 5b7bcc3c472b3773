"""Reads the header of one object as a row of `instances`, and checks it."""

import pyarrow as pa

from harvester.audits.conformance.check import check_table
from harvester.audits.conformance.plans import ConformanceOptions
from harvester.audits.conformance.results import ConformanceResult
from harvester.dicom import HeaderColumns
from harvester.fetch.headers import FetchedHeader, HeaderFetcher
from harvester.model import ObjectRef
from harvester.reader.event_loop import LOOP
from harvester.store.cost import RequestCost
from harvester.store.open import open_store


def check_object(
    url: str, options: ConformanceOptions | None = None, endpoint: str | None = None
) -> tuple[ConformanceResult, pa.Table]:
    """Check one object, of which only the header is read.

    Args:
        url: `s3://`, `gs://`, `https://`, or a local file.
        options: What is checked.
        endpoint: Replaces the endpoint of the cloud.

    Returns:
        The result, and its findings as a table of `FINDING_COLUMNS`.

    Raises:
        HarvestError: The object cannot be read.
    """
    ref = ObjectRef.parse(url)
    fetched: FetchedHeader = LOOP.call(_fetch, ref, endpoint)
    columns = HeaderColumns()
    columns.append(fetched.header)
    row = pa.table(columns.finish())
    for name, value in (
        ("instance_url", ref.url),
        ("pixel_data_keyword", fetched.header.pixel_data_keyword),
    ):
        row = row.append_column(name, pa.array([value], pa.string()))
    checked: tuple[ConformanceResult, pa.Table] = check_table(row, options)
    return checked


async def _fetch(ref: ObjectRef, endpoint: str | None) -> FetchedHeader:
    async with open_store(endpoint=endpoint) as store:
        return await HeaderFetcher(store).fetch([ref], RequestCost())
