"""`harvester plan`: estimates a crawl without fetching anything."""

import dataclasses
import json
from typing import Annotated, Final

import typer

from harvester.catalog import open_catalog
from harvester.cli.format import count, size, span
from harvester.cli.options import ConfigArgument, JsonOption
from harvester.config import load
from harvester.engine.calibration import measured_rates, recorded_rates
from harvester.engine.estimate import (
    ASSUMED_RATES,
    BUCKET_REQUESTS_PER_SECOND,
    Estimate,
    Forecast,
    Rates,
    estimate,
    forecast,
)
from harvester.engine.plan import PlanOutline, outline
from harvester.engine.shard_task import collect_garbage_rarely
from harvester.engine.workers.choose import cores

EPILOG: Final = "Examples: `harvester plan configs/idc-sm.toml`, `harvester plan configs/idc-all.toml`"
_BOTTLENECKS: Final = {
    "cpu": "the CPU is the bottleneck: use more cores, or more machines",
    "service": "the service's request rate is the bottleneck: more cores would wait",
    "network": "the network is the bottleneck: a machine in the buckets' region has more bandwidth",
}


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
    settings = load(config)
    with open_catalog(settings) as catalog:
        planned = outline(catalog.outlines(), settings.limits)
        cost = estimate(catalog.summary(), settings.limits)
        name = catalog.name
    rates = recorded_rates(settings.dataset) or (ASSUMED_RATES if assume else measured_rates())
    used = processes or settings.limits.processes or cores()
    expected = _Expected(name, planned, cost, rates, forecast(cost, rates, used))
    typer.echo(json.dumps(_facts(expected)) if as_json else _summary(expected))


@dataclasses.dataclass(frozen=True, slots=True)
class _Expected:
    """Everything that is known about a crawl before it starts."""

    catalog: str
    planned: PlanOutline
    cost: Estimate
    rates: Rates
    forecast: Forecast


def _facts(expected: _Expected) -> dict[str, object]:
    return {
        **dataclasses.asdict(expected.cost),
        "seconds": expected.forecast.seconds,
        "plan": expected.planned.name,
        "shards": expected.planned.shards,
        "rates": dataclasses.asdict(expected.rates),
        "cores": expected.forecast.cores,
        "core_seconds": expected.forecast.core_seconds,
        "seconds_by_cause": expected.forecast.seconds_by_cause,
        "binds": expected.forecast.binds,
    }


def _summary(expected: _Expected) -> str:
    cost, rates, times = expected.cost, expected.rates, expected.forecast.seconds_by_cause
    uncounted = f" (and {count(cost.uncounted, 'series')} of unknown length)" if cost.uncounted else ""
    selected = f"{count(cost.series, 'series')}, {count(cost.instances, 'instance')}{uncounted}"
    read = f"{size(cost.header_bytes)} of that ({cost.fraction:.3%}) in {count(cost.requests, 'request')}"
    speed = f"{rates.headers_per_core_second:,.0f} headers a second and core"
    scope = "for these objects" if rates.of_selection else "larger headers count in proportion to their size"
    per_second = cost.requests / times["service"] if times["service"] else 0.0
    configured = per_second < BUCKET_REQUESTS_PER_SECOND
    origin = "as configured" if configured else "assumed: documented by S3 and GCS"
    rows = {
        "CPU": (times["cpu"], f"on {count(expected.forecast.cores, 'core')} at {speed}"),
        "service": (times["service"], f"at {per_second:,.0f} requests a second ({origin})"),
        "network": (times["network"], f"at {size(cost.bytes_per_second)} a second (assumed: 1 Gbit/s)"),
    }
    core_hours = f"{expected.forecast.core_seconds / 3600:,.1f} core hours"
    lines = [
        expected.catalog,
        f"{selected}, {size(cost.object_bytes)}; {count(expected.planned.shards, 'shard')}",
        f"a crawl reads about {read}",
        *(f"  {name:<8}{span(seconds):>12} {how}" for name, (seconds, how) in rows.items()),
        f"  headers a second: {rates.basis}; {scope}",
        f"about {span(expected.forecast.seconds)}, {core_hours}; {_BOTTLENECKS[expected.forecast.binds]}",
    ]
    return "\n".join(lines)
