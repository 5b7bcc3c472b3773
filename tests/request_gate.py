"""Holds requests of a recorded demo, so that a test can act at a certain request."""

import threading

import anyio


class Gate:
    """Lets a number of object requests pass, and holds later ones until it is opened."""

    def __init__(self) -> None:
        self.passing = 1 << 30
        self.reached = threading.Event()
        self.opened = threading.Event()
        self._limiter: anyio.CapacityLimiter | None = None

    def close_at(self, passing: int) -> None:
        self.reached.clear()
        self.opened.clear()
        self.passing = passing

    def open(self) -> None:
        self.passing = 1 << 30
        self.opened.set()

    async def __call__(self, number: int) -> None:
        if number > self.passing:
            self._limiter = self._limiter or anyio.CapacityLimiter(1000)
            self.reached.set()
            await anyio.to_thread.run_sync(self.opened.wait, 500, limiter=self._limiter)
