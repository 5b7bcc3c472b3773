"""The corpus of real files, harvested once, and what pydicom says of each of its rows."""

import logging
import shutil
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import duckdb
import pyarrow.parquet as pq
import pytest
from checkout import CORPUS
from pydicom_oracle import expected_row
from recorded_demo import recorded_demo

from harvester.config import load
from harvester.demo.layout import lay_out
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.query import open_dataset, run_query

# Of thousands of items: pydicom takes longer for these than for all others, and they hold nothing else.
LONG_HEADERS = (
    "rtstruct_big*.dcm",
    "seg_binary_10seg_1000f.dcm",
    "sm_tiled_sparse_3000f*.dcm",
)


@dataclass(frozen=True)
class Harvest:
    """A dataset, and the headers of its rows as pydicom reads them."""

    location: Path
    connection: duckdb.DuckDBPyConnection
    headers: list[dict[str, Any]]

    def ask(self, sql: str, dialect: Any = "duckdb") -> list[dict[str, Any]]:
        return [row for b in run_query(self.connection, sql, dialect).batches() for row in b.to_pylist()]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harvest]:
    if not (CORPUS / "inventory.csv").exists():
        pytest.skip("the corpus of real files is not here")
    folder = tmp_path_factory.mktemp("corpus")
    files = folder / "files"
    shutil.copytree(CORPUS, files, ignore=shutil.ignore_patterns(*LONG_HEADERS))
    with recorded_demo(files) as demo:
        toml = demo.toml(folder)
        anyio.run(crawl, load(toml), CrawlProgress())
        catalog = catalogued(files, demo.address.bucket)
    location = Path(tomllib.loads(toml.read_text())["dataset"])
    with open_dataset(location) as connection:
        rows = run_query(connection, "SELECT instance_url FROM instances")
        urls = [url for batch in rows.batches() for url in batch.column(0).to_pylist()]
        yield Harvest(location, connection, [header_of(url, *catalog[url]) for url in urls])


def catalogued(root: Path, bucket: str) -> dict[str, tuple[Path, dict[str, Any]]]:
    """For each address the file, and what the catalog says of it."""
    return {
        f"s3://{bucket}/{instance.key}": (
            Path(instance.path),
            {"Modality": series.attributes.get("Modality"), "collection_id": series.collection_id},
        )
        for series in lay_out(root).series
        for instance in series.instances
    }


def header_of(url: str, path: Path, told: dict[str, Any]) -> dict[str, Any]:
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = expected_row(path).columns
    known = {key: value for key, value in told.items() if value is not None}
    uuid = url.rpartition("/")[2].removesuffix(".dcm")
    size = {"instance_size": path.stat().st_size, "crdc_instance_uuid": uuid}
    return {"Modality": None, **columns, **known, **size, "instance_url": url}


def read_table(path: Path) -> list[dict[str, Any]]:
    return pq.ParquetFile(path).read().to_pylist()
