"""The signals that end a crawl in order."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio

from harvester.config.operating_system import is_windows


@contextmanager
def received_stop_signals() -> Iterator[AsyncIterator[int]]:
    """The stop signals that arrive while the block runs; they do not interrupt it."""
    if not is_windows():
        with anyio.open_signal_receiver(*stop_signals()) as signals:
            yield signals
        return
    # The event loops of Windows know no signals: they are handled between two steps of the loop.
    loop = asyncio.get_running_loop()
    send, receive = anyio.create_memory_object_stream[int](16)

    def pass_on(number: int, _: object) -> None:
        loop.call_soon_threadsafe(send.send_nowait, number)

    before = {number: signal.signal(number, pass_on) for number in stop_signals()}
    try:
        with send, receive:
            yield receive
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM and, unless `nohup` has it ignored, the SIGHUP of a closed terminal."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return tuple(signals)
