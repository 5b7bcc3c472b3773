"""Reads DICOM headers from cloud buckets, and writes them as Parquet that SQL can query."""

from functools import wraps
from importlib import import_module
from inspect import isasyncgenfunction, iscoroutinefunction, isfunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, Final

from harvester.errors import HarvesterError, without_frames
from harvester.model import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from harvester.audits.api import (
        AuditSummary,
        ConformanceSummary,
        ReportPage,
        aaudit,
        aconformance,
        areport,
        audit,
        conformance,
        report,
    )
    from harvester.engine.api import CrawlSummary, PlanSummary, acrawl, aheaders, aplan, crawl, headers, plan
    from harvester.query.api import OpenDataset, Table, aindex, aopen_dataset, index, open_dataset
    from harvester.reader import (
        AsyncObjectFile,
        DiskCache,
        ObjectFile,
        aiter_frames,
        aiter_headers,
        aopen_object,
        aread_frames,
        aread_header,
        aread_headers,
        aseries_urls,
        iter_frames,
        iter_headers,
        open_object,
        read_frames,
        read_header,
        read_headers,
        series_urls,
    )


# The module of each public name, imported at its first use: `import harvester` itself loads nothing.
_MODULES: Final = {
    "harvester.audits.api": (
        *("AuditSummary", "ConformanceSummary", "ReportPage", "aaudit", "aconformance"),
        *("areport", "audit", "conformance", "report"),
    ),
    "harvester.engine.api": (
        *("CrawlSummary", "PlanSummary", "acrawl", "aheaders", "aplan"),
        *("crawl", "headers", "plan"),
    ),
    "harvester.query.api": ("OpenDataset", "Table", "aindex", "aopen_dataset", "index", "open_dataset"),
    "harvester.reader": (
        *("AsyncObjectFile", "DiskCache", "ObjectFile", "aiter_frames", "aiter_headers", "aopen_object"),
        *("aread_frames", "aread_header", "aread_headers", "iter_frames", "iter_headers", "open_object"),
        *("read_frames", "read_header", "read_headers", "series_urls", "aseries_urls"),
    ),
}

__all__ = [
    "AsyncObjectFile",
    "AuditSummary",
    "ConformanceSummary",
    "CrawlSummary",
    "DiskCache",
    "ObjectFile",
    "OpenDataset",
    "PlanSummary",
    "ReportPage",
    "Table",
    "__version__",
    "aaudit",
    "aconformance",
    "acrawl",
    "aheaders",
    "aindex",
    "aiter_frames",
    "aiter_headers",
    "aopen_dataset",
    "aopen_object",
    "aplan",
    "aread_frames",
    "aread_header",
    "aread_headers",
    "areport",
    "aseries_urls",
    "audit",
    "conformance",
    "crawl",
    "headers",
    "index",
    "iter_frames",
    "iter_headers",
    "open_dataset",
    "open_object",
    "plan",
    "read_frames",
    "read_header",
    "read_headers",
    "report",
    "series_urls",
]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use."""
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module 'harvester' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    if isfunction(value) and not isgeneratorfunction(value) and not isasyncgenfunction(value):
        value = _with_short_errors(value, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _with_short_errors(function: Any, name: str) -> Any:
    """A function whose errors have a short traceback: a notebook shows the call and the message."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except HarvesterError as error:
            raise without_frames(error)  # noqa: B904  the same error

    @wraps(function)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except HarvesterError as error:
            raise without_frames(error)  # noqa: B904  the same error

    wrapper = acall if iscoroutinefunction(function) else call
    wrapper.__module__, wrapper.__qualname__ = __name__, name  # found again by pickle
    return wrapper
