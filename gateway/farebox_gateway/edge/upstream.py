"""Where a request goes: the nodes of an upstream, taken in turn by weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiohttp import ClientTimeout

DEFAULT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Node:
    """One server; `base` is scheme and authority, to which the request's target is appended."""

    authority: str
    base: str


class Upstream:
    """Nodes with weights, timeouts, and which Host header they get."""

    __slots__ = ("_cycle", "_host_from", "_turn", "host", "retries", "send_seconds", "timeout")

    def __init__(self, value: Mapping[str, Any]) -> None:
        scheme = value.get("scheme", "http")
        weighted = list(_nodes(value["nodes"], scheme))
        self._cycle = _smooth([(node, weight) for node, weight in weighted if weight > 0])
        self._turn = 0
        self._host_from: Literal["pass", "node", "rewrite"] = value.get("pass_host", "pass")
        self.host: str | None = value.get("upstream_host")
        self.retries: int = value.get("retries", len(set(self._cycle)) - 1)
        self.set_timeout(value.get("timeout", {}))

    def set_timeout(self, timeout: Mapping[str, float]) -> None:
        """Take the timeouts in seconds: `connect`, `send` between two writes, `read` between two reads."""
        self.send_seconds = float(timeout.get("send", DEFAULT_SECONDS))
        self.timeout = ClientTimeout(
            total=None,
            connect=None,
            sock_connect=timeout.get("connect", DEFAULT_SECONDS),
            sock_read=timeout.get("read", DEFAULT_SECONDS),
        )

    def next(self) -> Node | None:
        """Return the node whose turn it is; none if no node has weight."""
        cycle = self._cycle
        if not cycle:
            return None
        self._turn = turn = (self._turn + 1) % len(cycle)
        return cycle[turn]

    def host_for(self, node: Node, requested: str) -> str:
        """Return the Host header for a node."""
        if self._host_from == "node":
            return node.authority
        if self._host_from == "rewrite" and self.host is not None:
            return self.host
        return requested


def _nodes(nodes: Any, scheme: str) -> list[tuple[Node, int]]:
    default = 443 if scheme == "https" else 80
    found = []
    if isinstance(nodes, Mapping):
        rows = [(name, weight) for name, weight in nodes.items()]
    else:
        rows = [(f"{_bracketed(row['host'])}:{row.get('port', default)}", row["weight"]) for row in nodes]
    for name, weight in rows:
        authority = name if _has_port(name) else f"{_bracketed(name)}:{default}"
        found.append((Node(authority, f"{scheme}://{authority}"), weight))
    return found


def _has_port(name: str) -> bool:
    host, colon, port = name.rpartition(":")
    return bool(colon) and port.isdigit() and (":" not in host or host.endswith("]"))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _smooth(weighted: list[tuple[Node, int]]) -> list[Node]:
    """Return one round of nginx's smooth weighted round-robin, at most a thousand turns long."""
    total = sum(weight for _, weight in weighted)
    if total > 1000:
        weighted = [(node, max(1, round(weight * 1000 / total))) for node, weight in weighted]
        total = sum(weight for _, weight in weighted)
    current = [0] * len(weighted)
    cycle = []
    for _ in range(total):
        for index, (_, weight) in enumerate(weighted):
            current[index] += weight
        best = max(range(len(weighted)), key=current.__getitem__)
        current[best] -= total
        cycle.append(weighted[best][0])
    return cycle
