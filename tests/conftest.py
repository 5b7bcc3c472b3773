"""Writable buckets, signals as in a shell, time limits, the end of left processes, and the order of tests."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bucket_servers import CREDENTIALS, Bucket, gcs_bucket, s3_bucket
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from left_processes import end_processes_of, mark_session
from xdist.scheduler import LoadFileScheduling

# The suite: the same examples in each run; a failing example is not reduced.
hypothesis_settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
# scripts/random_tests: other examples in each run; a failing example is reduced.
hypothesis_settings.register_profile(
    "random",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
hypothesis_settings.load_profile("suite")


class TestLimitError(BaseException):
    """A test exceeds its time limit; neither `except Exception` nor Hypothesis catches this error."""


def pytest_timeout_set_timer(item: Any, settings: Any) -> bool | None:
    """Raise `TestLimitError` when a test's time is over, and again each second, until it ends.

    The plugin's own error is raised once, and Hypothesis takes it for a failing example to be made small.
    """
    if settings.method != "signal":
        return None

    def raise_limit(*_: object) -> None:
        raise TestLimitError(f"the test takes longer than {settings.timeout:g} s")

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    item.cancel_timeout = cancel
    signal.signal(signal.SIGALRM, raise_limit)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout, 1)
    return True


# What takes longest is begun first, so that no process waits long for the others at the end.
LONGEST_FIRST = (
    *("query", "engine", "audits", "scripts", "test_python_page.py", "test_windows.py", "test_notebook.py"),
    *("cli", "reader", "store", "dataset", "dicom", "catalog", "test_documents.py"),
)
# Modules that share what takes long to set up run in one process.
OF_CORPUS = ("tests/query/test_idc_queries.py", "tests/query/test_idc_tables.py", "tests/query/test_views.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(LONGEST_FIRST)}
    tests = Path(__file__).parent
    items.sort(key=lambda item: order.get(item.path.relative_to(tests).parts[0], len(order)))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    # Modules and tests stay to the end: without them, the garbage collector costs a tenth of the time.
    gc.collect()
    gc.freeze()


class _SharedSetUps(LoadFileScheduling):
    """Each module in one process, those of the corpus in the same one."""

    def _split_scope(self, nodeid: str) -> str:
        module = super()._split_scope(nodeid)
        return OF_CORPUS[0] if module in OF_CORPUS else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return _SharedSetUps(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_sessionstart() -> None:
    mark_session()
    # Without bytecode, each of the hundreds of processes that tests start compiles the package anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """End the processes that a failed test has started and left running."""
    if call.excinfo is not None and isinstance(call.excinfo.value, TestLimitError):
        signal.setitimer(signal.ITIMER_REAL, 0)  # the limit has ended the test
    report = yield
    if call.when == "call" and report.failed:
        end_processes_of(item.nodeid)
    return report


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts() -> None:
    """A shell ignores SIGINT for background processes, and the programs under test would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def writable_s3() -> Iterator[Bucket]:
    with s3_bucket() as bucket:
        yield bucket


@pytest.fixture(scope="session")
def writable_gcs() -> Iterator[Bucket]:
    with gcs_bucket() as bucket:
        yield bucket


@pytest.fixture(params=["s3", "gs"])
def writable_bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket of each cloud, with credentials."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST"):
        if name in os.environ:
            monkeypatch.delenv(name)
    return request.getfixturevalue("writable_s3" if request.param == "s3" else "writable_gcs")
