"""Errors have their built-in base classes, leave task groups unwrapped, and can be pickled."""

import copy
import copyreg
import errno
import pickle
from collections.abc import Iterable

import anyio
import pytest

from harvester.errors import (
    AccessDeniedError,
    BadResponseError,
    ConnectionFailedError,
    DatasetError,
    EndpointDownError,
    NotFoundError,
    ObjectChangedError,
    StoreError,
    TimedOutError,
    ungrouped,
)


def raised_in_tasks(errors: Iterable[Exception]) -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def run() -> None:
        with ungrouped():
            async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
                for number, error in enumerate(errors):
                    (inner if number % 2 else outer).start_soon(fail, error)

    anyio.run(run)


def test_one_error_comes_out_of_its_groups() -> None:
    error = DatasetError("no space")
    with pytest.raises(DatasetError) as caught:
        raised_in_tasks([error])
    assert caught.value is error


def test_one_bug_comes_out_of_its_groups() -> None:
    with pytest.raises(ZeroDivisionError):
        raised_in_tasks([ZeroDivisionError()])


def test_of_several_errors_one_comes_out() -> None:
    with pytest.raises((DatasetError, NotFoundError)):
        raised_in_tasks([DatasetError("one"), NotFoundError("two")])


def test_a_bug_among_errors_is_not_hidden() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        raised_in_tasks([DatasetError("one"), ZeroDivisionError()])
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.parametrize(
    ("kind", "built_in", "number"),
    [
        (NotFoundError, FileNotFoundError, errno.ENOENT),
        (AccessDeniedError, PermissionError, errno.EACCES),
        (TimedOutError, TimeoutError, errno.ETIMEDOUT),
        (ConnectionFailedError, ConnectionError, errno.ECONNABORTED),
        (EndpointDownError, ConnectionError, errno.ECONNABORTED),
        (ObjectChangedError, OSError, errno.ESTALE),
        (BadResponseError, OSError, errno.EIO),
    ],
)
def test_a_store_error_is_the_built_in_error_of_its_kind(kind, built_in, number):
    error = kind("it failed", url="s3://bucket/key", offset=0, status=404)
    error.attempts = 3
    assert isinstance(error, built_in)
    for one in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(one) == "it failed [s3://bucket/key]"
        assert (one.errno, one.strerror, one.filename) == (number, "it failed", "s3://bucket/key")
        assert (one.url, one.offset, one.status, one.attempts) == ("s3://bucket/key", 0, 404, 3)


@pytest.mark.parametrize("kind", [NotFoundError, StoreError, EndpointDownError])
def test_a_store_error_passes_through_a_library_that_pickles_all_errors(kind, monkeypatch):
    # A Dask cluster installs tblib's reducers, which set the attributes of any OSError one by one.
    pickling = pytest.importorskip("tblib.pickling_support")
    monkeypatch.setitem(copyreg.dispatch_table, kind, pickling.pickle_exception)
    error = kind("it failed", url="s3://bucket/key", offset=7, status=404)
    for one in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(one) == str(error)
        assert (one.errno, one.strerror, one.filename) == (error.errno, "it failed", "s3://bucket/key")
        assert (one.url, one.offset, one.status) == ("s3://bucket/key", 7, 404)


def test_other_store_errors_are_neither_missing_files_nor_refused_ones():
    other = [kind for kind in StoreError.__subclasses__() if kind not in (NotFoundError, AccessDeniedError)]
    assert not any(issubclass(kind, FileNotFoundError | PermissionError) for kind in other)
