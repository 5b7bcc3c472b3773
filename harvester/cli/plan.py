"""`harvester plan`: estimates a crawl without fetching anything."""

import json
from typing import Annotated, Final

import typer

from harvester.cli.options import ConfigArgument, JsonOption, show
from harvester.engine.api import plan
from harvester.engine.shard_task import collect_garbage_rarely

EPILOG: Final = "Example: `harvester plan lung-ct.toml`"


def command(
    config: ConfigArgument,
    *,
    as_json: JsonOption = False,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The number of cores to estimate for; else as the configuration says.",
            show_default=False,
        ),
    ] = None,
    assume: Annotated[
        bool, typer.Option("--assume", help="Measure nothing: assume a machine of average speed.")
    ] = False,
) -> None:
    """Count the series and objects that CONFIG selects, and estimate what reading their headers takes.

    Nothing is fetched. The speed of this machine comes from the dataset's last run record; without one, it
    is measured in about three seconds on synthetic slices from a server on this machine.
    """
    collect_garbage_rarely()
    expected = plan(config, processes=processes, measure=not assume)
    show(json.dumps(expected.facts()) if as_json else str(expected))
