"""`import harvester` gives the public names, and loads nothing that is not used."""

import inspect
import subprocess
import sys

import pytest

import harvester

PROMISED = [
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


def test_the_public_names_are_these_and_no_others():
    assert harvester.__all__ == PROMISED
    assert dir(harvester) == PROMISED


@pytest.mark.parametrize("name", PROMISED)
def test_every_public_name_is_there(name):
    assert getattr(harvester, name) is not None


@pytest.mark.parametrize("name", [name for name in PROMISED if name != "__version__"])
def test_every_public_name_says_what_it_is(name):
    assert inspect.getdoc(getattr(harvester, name))


def test_a_name_that_is_none_is_told():
    with pytest.raises(AttributeError, match="open_objects"):
        harvester.open_objects  # noqa: B018


def test_the_reader_is_loaded_when_it_is_asked_for():
    program = "import harvester, sys; print('harvester.reader' in sys.modules, 'pydicom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
