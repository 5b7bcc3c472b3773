"""Fits the concurrency to the file descriptors that the operating system allows."""

import logging
import sys
from typing import Final

_logger = logging.getLogger("harvester")

# For the program's files, its parts, its worker processes and the event loop.
_RESERVED: Final = 128


def affordable_concurrency(wanted: int) -> int:
    """Raise the soft limit of descriptors as far as needed and allowed; return how many requests fit.

    Args:
        wanted: The most requests at once; each needs a connection.
    """
    if sys.platform == "win32":  # which has no such limit
        return wanted
    import resource  # noqa: PLC0415

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _RESERVED
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if raised > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        except (OSError, ValueError):
            raised = soft
    affordable = max(1, min(wanted, raised - _RESERVED))
    if affordable < wanted:
        _logger.warning(
            "only %d file descriptors are allowed: %d requests at once instead of %d; raise it by ulimit -n",
            raised,
            affordable,
            wanted,
        )
    return affordable
