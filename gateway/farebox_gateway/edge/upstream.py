"""Where a request goes: an upstream's nodes by priority and health, its timeouts, and its Host header.

Nodes of a lower priority are asked when all of the higher ones were tried. Nodes known to be unhealthy are
left out, unless all of them are: then the knowledge is worth nothing and all are asked, as APISIX does.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from aiohttp import ClientTimeout

from farebox_gateway.edge.balancing import PICKERS, ConsistentHash, Node, Picker
from farebox_gateway.edge.health import Checker, Fault, HealthRegistry, Target

__all__ = ["Node", "Timeouts", "Upstream"]

DEFAULT_SECONDS: Final = 60.0
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, between two writes, between two reads."""

    send_seconds: float
    client: ClientTimeout

    @classmethod
    def of(cls, value: Mapping[str, float]) -> "Timeouts":
        """Read `timeout` of a route or an upstream."""
        return cls(
            float(value.get("send", DEFAULT_SECONDS)),
            ClientTimeout(
                total=None,
                connect=None,
                sock_connect=value.get("connect", DEFAULT_SECONDS),
                sock_read=value.get("read", DEFAULT_SECONDS),
            ),
        )


@dataclass(frozen=True, slots=True)
class HashOn:
    """By what a consistent hash tells requests apart: `vars`, `header`, `cookie`… and the name of one."""

    what: str
    key: str


class Upstream:
    """Nodes and how they are asked."""

    __slots__ = (
        "_checker",
        "_host_from",
        "_layers",
        "_nodes",
        "_seen_version",
        "_type",
        "hash_on",
        "host",
        "retries",
        "retry_seconds",
        "secure",
        "timeouts",
        "verify",
    )

    def __init__(
        self, value: Mapping[str, Any], name: str = "", health: HealthRegistry | None = None
    ) -> None:
        scheme = value.get("scheme", "http")
        self.secure = scheme == "https"
        self.verify: bool = (value.get("tls") or {}).get("verify", False)
        self._nodes = _nodes(value["nodes"], scheme)
        self._type: str = value.get("type", "roundrobin")
        self.hash_on = HashOn(value.get("hash_on", "vars"), value.get("key", ""))
        self._host_from: Literal["pass", "node", "rewrite"] = value.get("pass_host", "pass")
        self.host: str | None = value.get("upstream_host")
        self.retries: int = value.get("retries", max(0, len(self._nodes) - 1))
        self.retry_seconds: float = value.get("retry_timeout", 0)
        self.timeouts = Timeouts.of(value.get("timeout") or {})
        self._checker: Checker | None = None
        if health is not None and value.get("checks") and len(self._nodes) > 1:
            self._checker = health.obtain(name, value["checks"], _targets(self._nodes, value))
        self._seen_version = -1
        self._layers: tuple[Picker, ...] = ()
        self._lay_out()

    def pick(self, hash_key: Callable[[], str] = str, tried: Collection[Node] = ()) -> Node | None:
        """Return a node for a request; none if every one was tried. `hash_key` is asked if it is needed.

        As in APISIX a single node is asked whatever its weight, and again at a retry.
        """
        nodes = self._nodes
        if len(nodes) == 1:
            return nodes[0]
        checker = self._checker
        if checker is not None and checker.version != self._seen_version:
            self._lay_out()
        for layer in self._layers:
            node = layer.pick(hash_key, tried)
            if node is not None:
                return node
        return None

    def through(self, node: Node, *, status: int | None, fault: Fault | None, seconds: float | None) -> None:
        """Learn how a node did with a request: its status, or how it failed, and how long it took."""
        if self._type in {"least_conn", "ewma"}:
            for layer in self._layers:
                layer.release(node, seconds)
        checker = self._checker
        if checker is not None:
            if fault is not None:
                checker.failed(node.key, fault)
            elif status is not None:
                checker.answered(node.key, status)

    @property
    def watched(self) -> str | None:
        """The name of this upstream's checker."""
        return None if self._checker is None else self._checker.name

    @property
    def nodes(self) -> Sequence[Node]:
        """All nodes."""
        return self._nodes

    def host_for(self, node: Node, requested: str) -> str:
        """Return the Host header for a node."""
        if self._host_from == "node":
            return node.authority
        if self._host_from == "rewrite" and self.host is not None:
            return self.host
        return requested

    def _lay_out(self) -> None:
        checker, nodes = self._checker, self._nodes
        if checker is not None:
            self._seen_version = checker.version
            up = [node for node in nodes if checker.is_up(node.key)]
            nodes = up or nodes
        if not any(node.weight for node in nodes):
            nodes = [replace(node, weight=1) for node in nodes]
        make: Callable[[Sequence[Node]], Picker] = PICKERS.get(self._type, ConsistentHash)
        priorities = sorted({node.priority for node in nodes}, reverse=True)
        self._layers = tuple(
            make([node for node in nodes if node.priority == priority]) for priority in priorities
        )


def _nodes(nodes: Any, scheme: str) -> list[Node]:
    default = _PORTS.get(scheme, 80)
    if isinstance(nodes, Mapping):
        rows = [(*_parted(name, default), weight, 0) for name, weight in nodes.items()]
    else:
        rows = [
            (row["host"], row.get("port", default), row["weight"], row.get("priority", 0)) for row in nodes
        ]
    found = []
    for name, port, weight, priority in rows:
        host = name.removeprefix("[").removesuffix("]")
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        found.append(Node(authority, f"{scheme}://{authority}", host, port, weight, priority))
    return found


def _parted(name: str, default: int) -> tuple[str, int]:
    host, colon, port = name.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return host, int(port)
    return name, default


def _targets(nodes: Sequence[Node], value: Mapping[str, Any]) -> dict[str, Target]:
    active = value["checks"].get("active") or {}
    rewritten = value.get("upstream_host") if value.get("pass_host") == "rewrite" else None
    return {
        node.key: Target(
            node.host, active.get("port", node.port), rewritten or active.get("host") or node.host
        )
        for node in nodes
    }
