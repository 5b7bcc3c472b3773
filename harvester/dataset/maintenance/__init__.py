"""Rewrites and removes parts that are committed: compaction, pruning, orphans."""
