"""Fits the concurrency to the file descriptors that the operating system allows."""

import logging
from typing import Final

from harvester.config.operating_system import descriptor_limits, raise_descriptor_limit

_logger = logging.getLogger("harvester")

# For the program's files, its parts, its worker processes and the event loop.
_RESERVED: Final = 128


def affordable_concurrency(wanted: int) -> int:
    """Raise the soft limit of descriptors as far as needed and allowed; return how many requests fit.

    Args:
        wanted: The most requests at once; each needs a connection.
    """
    limits = descriptor_limits()
    if limits is None:
        return wanted
    soft, hard = limits
    needed = wanted + _RESERVED
    if soft >= needed:
        return wanted
    raised = min(needed, hard)
    if raised > soft and not raise_descriptor_limit(int(raised)):
        raised = soft
    affordable = max(1, min(wanted, int(raised) - _RESERVED))
    if affordable < wanted:
        _logger.warning(
            "only %d file descriptors are allowed: %d requests at once instead of %d; raise it by ulimit -n",
            raised,
            affordable,
            wanted,
        )
    return affordable
