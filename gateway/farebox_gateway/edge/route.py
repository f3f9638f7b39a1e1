"""A route as requests and their plugins see it: what it is called, whom it is for, where it leads."""

from dataclasses import dataclass

from farebox_gateway.edge.upstream import Timeouts, Upstream


@dataclass(slots=True, eq=False)
class Route:
    """One route."""

    id: str
    patterns: tuple[str, ...]
    hosts: tuple[str, ...]
    methods: frozenset[str] | None
    priority: int
    websocket: bool
    upstream: Upstream | None
    timeouts: Timeouts | None
    """The route's own, over the upstream's."""
    service_id: str | None
