"""`harvester crawl`: harvests headers into a dataset."""

import dataclasses
import json
import logging
from typing import Annotated, Any, Final

import anyio
import typer

from harvester.cli.logs import LogFormat, log_as
from harvester.cli.metrics import served_metrics
from harvester.cli.options import ConfigArgument, JsonOption, show
from harvester.config import CrawlConfig, load
from harvester.engine.crawl import CrawlOptions, CrawlResult, crawl
from harvester.engine.progress import crawl_progress
from harvester.engine.shard import CrawlProgress
from harvester.engine.shard_task import collect_garbage_rarely
from harvester.engine.stop_signals import received_stop_signals
from harvester.errors import ungrouped

EPILOG: Final = "Example: `harvester crawl lung-ct.toml`"

_logger = logging.getLogger("harvester")


def command(  # noqa: PLR0913  one for each option
    config: ConfigArgument,
    *,
    as_json: JsonOption = False,
    limit_series: Annotated[
        int | None, typer.Option(min=1, help="Harvest only the first N of the selected series.")
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="The form of stderr: text, or one JSON object a line.")
    ] = LogFormat.TEXT,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Serve Prometheus metrics on this port of 127.0.0.1."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Harvest only the objects that failed before.")
    ] = False,
    no_compact: Annotated[
        bool, typer.Option("--no-compact", help="Don't merge small parts at the end, however many there are.")
    ] = False,
) -> int:
    """Harvest the headers that CONFIG selects into its dataset.

    Objects that the dataset already holds are not harvested again: after an interruption, the same command
    continues.
    """
    collect_garbage_rarely()
    log_as(log_format)
    settings = load(config)
    output = _Output(in_json=log_format is LogFormat.JSON, metrics_port=metrics_port)
    result = _run(settings, CrawlOptions(limit_series, retry_failed, compact=not no_compact), output)
    facts = dataclasses.asdict(result)
    del facts["stopped"], facts["carried"], facts["commonest_failure"], facts["compaction"]
    output.print_result(result, facts)
    if as_json:
        typer.echo(json.dumps(facts))
    return 3 if result.failures else 0


def crawl_missing(settings: CrawlConfig) -> None:
    """Harvest the objects that a dataset lacks, before an audit of it.

    Objects that fail become rows of `failures`, where the audit finds them.

    Raises:
        typer.Abort: The crawl was interrupted.
    """
    output = _Output(in_json=False, metrics_port=None)
    output.print_result(_run(settings, CrawlOptions(), output), {})


@dataclasses.dataclass(frozen=True, slots=True)
class _Output:
    """What a crawl prints on stderr, and where it serves metrics."""

    in_json: bool
    metrics_port: int | None

    def print_interrupted(self) -> None:
        message = "interrupted; committed parts stay, and the same command continues from there"
        if self.in_json:
            _logger.warning("%s", message)
        else:
            show(f"harvester: {message}", err=True)

    def print_result(self, result: CrawlResult, facts: dict[str, Any]) -> None:
        if self.in_json:
            if result.commonest_failure:
                _logger.warning("every object failed; the commonest reason: %s", result.commonest_failure)
            _logger.info("done", extra={"facts": facts})
        else:
            show(result.summary(), err=True)


def _run(settings: CrawlConfig, options: CrawlOptions, output: _Output) -> CrawlResult:
    result = anyio.run(_crawl_until_signal, settings, options, output)
    if result is None or result.stopped:
        output.print_interrupted()
        raise typer.Abort
    return result


async def _crawl_until_signal(
    settings: CrawlConfig, options: CrawlOptions, output: _Output
) -> CrawlResult | None:
    """Crawl to the end, or to a signal; None after a second signal, which stops at once."""
    progress = CrawlProgress()
    stop = anyio.Event()
    result = None
    with ungrouped(), served_metrics(progress, output.metrics_port):
        async with anyio.create_task_group() as tasks:

            async def stop_on_signals() -> None:
                with received_stop_signals() as signals:
                    async for _ in signals:
                        if stop.is_set():
                            tasks.cancel_scope.cancel()
                        else:
                            _logger.warning("finishing open requests; a second signal stops at once")
                            stop.set()

            tasks.start_soon(stop_on_signals)
            async with crawl_progress(progress, as_log=output.in_json):
                result = await crawl(settings, progress, options, stop=stop)
            tasks.cancel_scope.cancel()
    return result
