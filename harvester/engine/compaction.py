"""Merges the small parts of a dataset at the end of a crawl."""

import logging

from anyio import Event, from_thread

from harvester.dataset import Compaction, CompactionOptions, Dataset, Lock
from harvester.engine.shard import CrawlProgress
from harvester.errors import DatasetError

_logger = logging.getLogger("harvester")


class _StoppedError(Exception):
    """The crawl is to end."""


def compact_crawled(
    dataset: Dataset, lock: Lock, least_parts: int, progress: CrawlProgress, stop: Event
) -> Compaction | None:
    """Merge small parts if there are enough of them; call it in a worker thread of the event loop.

    What was crawled is committed before, so an error is only logged: the parts stay as they are.

    Args:
        dataset: What was crawled.
        lock: Of this dataset.
        least_parts: See `LimitsConfig.compact_parts`.
        progress: Updated while rows are written.
        stop: When set, the compaction ends without a change; so it does when the crawl's task is cancelled.

    Returns:
        What was merged; None: nothing.
    """

    def report(done: int, total: int) -> None:
        from_thread.check_cancelled()
        if stop.is_set():
            raise _StoppedError
        progress.rows_compacted, progress.rows_to_compact = done, total

    try:
        return dataset.compact_grown(lock, CompactionOptions(report=report), least_parts)
    except _StoppedError:
        return None
    except DatasetError as error:
        message = "the crawl is done; its small parts were not merged, which makes queries slower: %s"
        _logger.warning(message, error)
        return None
    finally:
        progress.rows_to_compact = 0
