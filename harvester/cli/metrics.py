"""A crawl's progress as Prometheus metrics, on a port of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harvester.engine.shard import CrawlProgress
from harvester.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_COUNTERS = {
    "series": "Series whose objects were handed out.",
    "instances": "Objects that became rows of instances.",
    "failures": "Objects and series that became rows of failures.",
    "requests": "HTTP requests sent, retries included.",
    "bytes_fetched": "Bytes of bodies received.",
}


@contextmanager
def served_metrics(progress: CrawlProgress, port: int | None) -> Iterator[None]:
    """Serve the progress on 127.0.0.1 while the block runs; nothing, if there is no port.

    Raises:
        ConfigError: prometheus-client is not installed, or the port cannot be had.
    """
    if port is None:
        yield
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415  an extra
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "--metrics-port needs prometheus-client; pip install 'harvester[metrics]'"
        ) from None

    class Counters:
        """Reads the progress whenever it is asked for."""

        def collect(self) -> "Iterator[Metric]":
            for name, text in _COUNTERS.items():
                # Gauges: what a dead worker or a retry takes back is no restart of a counter.
                yield GaugeMetricFamily(f"harvester_{name}", text, value=getattr(progress, name))
            if progress.expected_instances is not None:
                text = "Objects that the catalog counts in the selection."
                yield GaugeMetricFamily("harvester_expected_instances", text, progress.expected_instances)

    registry = CollectorRegistry()
    registry.register(Counters())
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise ConfigError(f"--metrics-port {port}: cannot be served ({error.strerror})") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
