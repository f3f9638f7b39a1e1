"""Figures of one web process for Prometheus, in a registry of its own.

Labels are route templates and statuses: never ids, addresses or anything a caller chooses.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The web process's counters."""

    def __init__(self) -> None:
        """Register every figure."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "farebox_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "farebox_http_request_seconds",
            "Time from the request's head to its answer.",
            ["method", "route"],
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "farebox_http_requests_in_flight", "Requests under way.", registry=self.registry
        )
        self.rate_limiter_away = Counter(
            "farebox_rate_limiter_away",
            "Requests decided without Redis.",
            registry=self.registry,
        )

        self._silent = Gauge(
            "farebox_gateway_silent_seconds",
            "For how long a gateway (node empty) or a node has not answered; 0: it answers.",
            ["gateway", "node"],
            registry=self.registry,
        )
        self._differences = Gauge(
            "farebox_node_differences",
            "Items of which a node enforces something else than what was sold.",
            ["gateway", "node"],
            registry=self.registry,
        )

    def gateways(self, figures: Iterable[tuple[str, str, float, int]]) -> None:
        """Show each gateway's and node's state in place of what was shown before."""
        self._silent.clear()
        self._differences.clear()
        for gateway, node, silent, differences in figures:
            self._silent.labels(gateway, node).set(silent)
            if node:
                self._differences.labels(gateway, node).set(differences)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def exposition(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)
