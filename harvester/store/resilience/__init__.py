"""How hard a store asks and how long it insists: limits, retries, hedging, circuit breakers."""
