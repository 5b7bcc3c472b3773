"""An error that crosses task groups reaches the caller as itself."""

from collections.abc import Iterable

import anyio
import pytest

from harvester.errors import DatasetError, NotFoundError, ungrouped


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
