"""`harvester crawl`."""

import dataclasses
import json
import logging
import signal
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from harvester.cli.format import count, size, span
from harvester.cli.logs import LogFormat, log_as
from harvester.cli.metrics import served_metrics
from harvester.cli.progress import shown
from harvester.config import CrawlConfig, load
from harvester.engine.crawl import CrawlOptions, CrawlResult, crawl
from harvester.engine.shard import CrawlProgress
from harvester.engine.shard_task import collect_garbage_rarely
from harvester.errors import ungrouped

_logger = logging.getLogger("harvester")

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A TOML file, see configs/.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("crawl", epilog="Example: `harvester crawl configs/quickstart.toml`")(_crawl)


def _crawl(
    config: Config,
    *,
    as_json: AsJson = False,
    limit_series: Annotated[
        int | None, typer.Option(min=1, help="Harvest only the first so many of the selected series.")
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="How stderr is written: for a person, or one JSON object a line.")
    ] = LogFormat.TEXT,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Serve Prometheus metrics on this port of 127.0.0.1."),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Take again exactly what failed, and nothing else."),
    ] = False,
) -> int:
    """Harvest the headers that CONFIG selects into its dataset.

    What the dataset holds already is not harvested again: a crawl that was interrupted goes on where
    it stopped, when started again.
    """
    collect_garbage_rarely()
    log_as(log_format)
    settings = load(config)
    told = _Told(in_json=log_format is LogFormat.JSON, metrics_port=metrics_port)
    result = anyio.run(_crawl_shown, settings, CrawlOptions(limit_series, retry_failed=retry_failed), told)
    if result is None or result.stopped:
        told.say("interrupted; what was committed stays, and the same command goes on from there")
        return 130
    facts = dataclasses.asdict(result)
    del facts["stopped"], facts["carried"]
    told.conclude(result, facts)
    if as_json:
        typer.echo(json.dumps(facts))
    return 3 if result.failures else 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Told:
    """How a crawl says what it does, besides its result."""

    in_json: bool
    metrics_port: int | None

    def say(self, message: str) -> None:
        """Say one thing on stderr, as the program."""
        if self.in_json:
            _logger.warning("%s", message)
        else:
            typer.echo(f"harvester: {message}", err=True)

    def conclude(self, result: CrawlResult, facts: dict[str, Any]) -> None:
        """Say what the crawl did."""
        if self.in_json:
            _logger.info("done", extra={"facts": facts})
        else:
            typer.echo(_said(result), err=True)


def crawl_first(settings: CrawlConfig) -> bool:
    """Harvest what a dataset lacks before it is looked at; whether it was not interrupted.

    Objects that fail are rows of `failures`: what looks at the dataset finds them there.
    """
    told = _Told(in_json=False, metrics_port=None)
    result = anyio.run(_crawl_shown, settings, CrawlOptions(), told)
    if result is None or result.stopped:
        told.say("interrupted; what was committed stays, and the same command goes on from there")
        return False
    told.conclude(result, {})
    return True


async def _crawl_shown(settings: CrawlConfig, options: CrawlOptions, told: _Told) -> CrawlResult | None:
    """Crawl until it is done or interrupted; None if it was stopped at once, by a second signal."""
    progress = CrawlProgress()
    stop = anyio.Event()
    result = None
    with ungrouped(), served_metrics(progress, told.metrics_port):
        async with anyio.create_task_group() as tasks:

            async def heed_signals() -> None:
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for _ in signals:
                        if stop.is_set():
                            tasks.cancel_scope.cancel()
                        else:
                            _logger.warning("finishing what is in flight; once more stops at once")
                            stop.set()

            tasks.start_soon(heed_signals)
            async with shown(progress, as_log=told.in_json):
                result = await crawl(settings, progress, options, stop=stop)
            tasks.cancel_scope.cancel()
    return result


def _said(result: CrawlResult) -> str:
    rate = result.instances / result.seconds if result.seconds else 0.0
    done = f"{count(result.instances, 'instance')} of {count(result.series, 'series')}"
    spent = f"{count(result.requests, 'request')}, {size(result.bytes_fetched)}"
    lines = [f"{done} in {span(result.seconds)} ({rate:,.0f} a second), {spent}"]
    if result.carried:
        lines.append(f"{count(result.carried, 'instance')} of them not revised, and carried over unread")
    if result.skipped:
        lines.append(f"{count(result.skipped, 'object')} harvested before, not again")
    if result.failures:
        lines.append(
            f"{count(result.failures, 'failure')}: harvester sql -d {result.dataset} "
            '"SELECT reason, count(*) FROM failures GROUP BY ALL"'
        )
    lines.append(f"dataset: {result.dataset}")
    return "\n".join(lines)
