"""Takes an endpoint down for a test, by failures like those of its server."""

import anyio

from harvester.errors import ConnectionFailedError
from harvester.store.resilience.circuit_breaker import CircuitBreaker


async def take_down(circuit: CircuitBreaker, failures: int = 10) -> None:
    """Ten failures over a second open the circuit; after nine the next one does."""
    circuit.failed(ConnectionFailedError("cut"))
    await anyio.sleep(1.0)
    for _ in range(failures - 1):
        circuit.failed(ConnectionFailedError("cut"))
