"""Writes the series or objects of a query's result as a manifest for s5cmd, idc-index or a crawl."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from harvester.errors import QueryError
from harvester.query.run import Result

MANIFESTS: Final = (".s5cmd", ".txt")
# The columns that hold URLs, best first: a series' is `s3://BUCKET/UUID/*`.
_COLUMNS: Final = ("instance_url", "series_aws_url")


def manifest_urls(result: Result, most: int | None = None) -> list[str]:
    """The URLs in a result, each once, in its order.

    Args:
        result: From `run_query`.
        most: The most URLs to read; None: all.

    Raises:
        QueryError: The result has no column of URLs, or the query fails.
    """
    column = next((name for name in _COLUMNS if name in result.columns), None)
    if column is None:
        raise QueryError(f"a manifest needs a column {' or '.join(_COLUMNS)}; SELECT one of them")
    place = result.columns.index(column)
    urls: dict[str, None] = {}
    for batch in result.batches():
        urls.update(dict.fromkeys(url for url in batch.column(place).to_pylist() if url))
        if most is not None and len(urls) >= most:
            break
    return list(urls)[:most]


def manifest(urls: Iterable[str], path: Path) -> str:
    """The text of a manifest: s5cmd's commands, or one URL in each line for other suffixes.

    Raises:
        QueryError: A URL is not one of a bucket, which s5cmd needs.
    """
    if path.suffix != ".s5cmd":
        return "".join(f"{url}\n" for url in urls)
    lines = []
    for url in urls:
        scheme, _, rest = url.partition("://")
        if scheme not in ("s3", "gs") or any(letter in rest for letter in " \"'\n\r"):
            raise QueryError(f"{url}: an s5cmd manifest holds s3:// and gs:// URLs only")
        lines.append(f"cp s3://{rest} .\n")  # s5cmd reads GCS by its S3 interface
    return "".join(lines)
