"""An event loop whose clock jumps to the next event: hours of waiting pass at once, in the same order."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Does not wait; returns to the loop how long it would have waited."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list:
        events = super().select(0)
        if not events and timeout is None:
            raise RuntimeError("every task waits for another: no event will ever come")
        if not events and timeout:
            self.passed += timeout
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For code that does no input or output."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.passed


def in_virtual_time(main: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function; `anyio.current_time` is the clock, from 0.0 on."""
    return anyio.run(main, backend_options={"loop_factory": VirtualTimeLoop})
