"""The same rows twice: as the columns of a dataset, and with each header as one JSON text in Parquet."""

import time
from collections.abc import Iterable
from pathlib import Path

import duckdb

from asking.measuring import measured, rows_of
from asking.questions import A_SERIES, QUESTIONS
from harvester.catalog.database import literal
from harvester.query import open_dataset

# The text has the header's values by keyword: it is shorter than DICOM's JSON (PS3.18 annex F). Values that
# are not in the header stay in columns. A part becomes a file, its rows in the same order.
_WRITE = """
    COPY (
        SELECT collection_id, instance_size,
               CAST(json_merge_patch('{{}}', to_json(headers)) AS VARCHAR) AS header
        FROM (SELECT * FROM read_parquet({part}, hive_partitioning = false)) AS headers
    ) TO {target} (FORMAT parquet, COMPRESSION zstd)"""


def write_texts(compacted: Path, folder: Path) -> None:
    """Write the headers of a compacted dataset as texts; existing files are kept."""
    folder.mkdir(exist_ok=True)
    started = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        for number, part in enumerate(sorted(compacted.glob("instances/*/*/*.parquet"))):
            target = folder / f"{number}.parquet"
            if not target.exists():
                half = folder / "half"
                connection.execute(_WRITE.format(part=literal(str(part)), target=literal(str(half))))
                half.replace(target)
    print(f"texts written in {time.perf_counter() - started:.0f} s")


def ask_texts(compacted: Path, texts: Path, runs: int) -> None:
    """Run every query on the columns and on the texts."""
    columns_bytes = _bytes(compacted.glob("instances/*/*/*.parquet"))
    with open_dataset(compacted) as columns, duckdb.connect() as json:
        json.execute("SET enable_progress_bar = false")
        json.execute(f"CREATE VIEW headers AS FROM read_parquet({literal(str(texts / '*.parquet'))})")
        rows, length = json.execute("SELECT count(*), avg(length(header)) FROM headers").fetchall()[0]
        print(
            f"\n{rows:,} rows, JSON texts of {length:,.0f} characters on average;"
            f" {columns_bytes / 1e6:,.0f} MB as columns, {_bytes(texts.iterdir()) / 1e6:,.0f} MB as texts"
        )
        print(f"{'seconds, median of ' + str(runs):56}columns    JSON text")
        ((series,),) = rows_of(columns, A_SERIES)
        for question in QUESTIONS:
            sql, over_json = (text.replace("{series}", series) for text in (question.sql, question.json))
            quick = measured(lambda sql=sql: rows_of(columns, sql), runs)
            slow = measured(lambda sql=over_json: json.execute(sql).fetchall(), runs)
            if quick.rows != slow.rows:
                raise AssertionError(f"{question.name}: texts and columns give different rows")
            ratio = f"{slow.seconds / quick.seconds:9.1f}x{' (once)' if slow.once else ''}"
            print(f"  {question.name:52}{quick.seconds:9.3f}{slow.seconds:13.3f}{ratio}", flush=True)


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)
