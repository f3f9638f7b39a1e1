"""A request on its way to an upstream and back: an exchange, and what routing and the stock plugins settle.

Plugins of our own look at the `Exchange` in it; what is here concerns only where the request goes and what
becomes of the answer's body.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from farebox_gateway.edge.exchange import Exchange
from farebox_gateway.edge.upstream import Upstream


class BodyFilter(Protocol):
    """Sees the answer's body on its way to the client, and may change it."""

    def feed(self, data: bytes) -> bytes:
        """Return what goes on in place of `data`."""

    def finish(self) -> bytes:
        """Return what is still to go; the upstream's body is whole."""


@dataclass(slots=True, eq=False)
class Passage(Exchange):
    """One request. `split` is the upstream that a plugin chose over the route's."""

    secure: bool = False
    split: Upstream | None = None
    body_taken: bool = False
    """A byte of the request's body was taken from the client: the request cannot be made again."""
    body_filters: list[BodyFilter] = field(default_factory=list)
    resized: bool = False
    """A filter changes the body's length, so the upstream's Content-Length is not the client's."""
    bare: bool = False
    """The answer is the gateway's own word for its own failure: no plugin sees it."""
    cache: Any = None
    """What `proxy-cache` remembers between the request and its answer."""
