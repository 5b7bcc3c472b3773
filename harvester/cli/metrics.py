"""Serves a crawl's progress as Prometheus metrics on a port of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harvester.engine.shard import CrawlProgress
from harvester.errors import ConfigError
from harvester.messages import pip_install

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_METRICS = {
    "series": "Series that were started.",
    "instances": "Rows of instances.",
    "failures": "Rows of failures.",
    "requests": "HTTP requests sent, retries included.",
    "bytes_fetched": "Bytes received in response bodies.",
}


@contextmanager
def served_metrics(progress: CrawlProgress, port: int | None) -> Iterator[None]:
    """Serve the progress on 127.0.0.1 while the block runs; without a port, do nothing.

    Raises:
        ConfigError: prometheus-client is not installed, or the port is in use.
    """
    if port is None:
        yield
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415  an extra
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415
    except ImportError:
        raise ConfigError(f"--metrics-port needs prometheus-client; {pip_install('metrics')}") from None

    class CurrentProgress:
        """Reads the progress at each scrape."""

        def collect(self) -> "Iterator[Metric]":
            for name, text in _METRICS.items():
                # Gauges, because the counts of a worker that died are subtracted.
                yield GaugeMetricFamily(f"harvester_{name}", text, value=getattr(progress, name))
            if progress.expected_instances is not None:
                text = "Objects in the selection, by the catalog."
                yield GaugeMetricFamily("harvester_expected_instances", text, progress.expected_instances)

    registry = CollectorRegistry()
    registry.register(CurrentProgress())
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise ConfigError(
            f"--metrics-port {port}: can't listen here ({error.strerror}); choose another port"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
