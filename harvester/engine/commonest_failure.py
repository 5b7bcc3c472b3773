"""Finds the commonest reason of a crawl's failures, for the summary of a crawl whose objects all failed."""

from collections import Counter
from typing import Final

from harvester.dataset import Dataset
from harvester.messages import one_line, printable, without_secrets

_MOST_ROWS: Final = 100_000
_LONGEST_MESSAGE: Final = 300


def commonest_failure(dataset: Dataset, crawl: str) -> str | None:
    """The commonest reason and its commonest message, on one line; None if no object failed.

    Args:
        dataset: The crawl's dataset.
        crawl: The crawl's name; other crawls' failures do not count.

    Raises:
        DatasetError: A commit cannot be read.
    """
    found: Counter[tuple[str, str]] = Counter()
    parts = (part for commit in dataset.commits() if commit.crawl == crawl for part in commit.parts)
    for part in parts:
        if part.kind == "failures" and found.total() < _MOST_ROWS:
            rows = dataset.storage.parquet(part.path).read(["reason", "message"]).to_pylist()
            found.update((row["reason"], row["message"]) for row in rows)
    if not found:
        return None
    by_reason: Counter[str] = Counter()
    for (name, _), number in found.items():
        by_reason[name] += number
    reason, number = by_reason.most_common(1)[0]
    message = next(text for (name, text), _ in found.most_common() if name == reason)
    text = printable(one_line(without_secrets(message), _LONGEST_MESSAGE))
    return f"{reason} ({number:,} of {found.total():,}): {text}"
