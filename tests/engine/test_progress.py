"""The progress of a crawl as a line."""

from harvester.engine.progress import progress_line
from harvester.engine.shard import CrawlProgress


def test_a_line_has_the_total_and_the_time_left() -> None:
    progress = CrawlProgress()
    progress.instances, progress.failures, progress.skipped = 30, 10, 20
    assert progress_line(progress, 10).startswith("60 instances, 3/s")
    assert "left" not in progress_line(progress, 10)
    progress.expected_instances = 100
    line = progress_line(progress, 10)
    assert line.startswith("60 of 100 instances, 3/s")
    assert line.endswith("10 failures, 10.0 s left")
