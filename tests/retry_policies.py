"""A retry policy for tests: the default number of attempts, and no waits."""

from harvester.store.resilience.retrying_store import RetryPolicy

NO_WAITING = RetryPolicy(longest_seconds=0.0, patience_seconds=0.0)
