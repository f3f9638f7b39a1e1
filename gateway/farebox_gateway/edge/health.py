"""Which nodes of an upstream answer: active probes, what requests saw, and the counters between the two.

A node is healthy until enough failures of one sort follow each other without a success between them, and
unhealthy until enough successes do; each change of direction forgets the other side's count, as
lua-resty-healthcheck counts, by which APISIX goes. This module chooses no node.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from farebox_gateway.edge.probing import Fault, Probe, Target

__all__ = ["Checker", "Fault", "HealthRegistry", "NodeHealth", "Target"]

log = logging.getLogger(__name__)

State = Literal["healthy", "mostly_healthy", "mostly_unhealthy", "unhealthy"]

_ACTIVE_HEALTHY: Final[Mapping[str, Any]] = {"interval": 0, "http_statuses": [200, 302], "successes": 2}
_ACTIVE_UNHEALTHY: Final[Mapping[str, Any]] = {
    "interval": 0,
    "http_statuses": [429, 404, 500, 501, 502, 503, 504, 505],
    "http_failures": 5,
    "tcp_failures": 2,
    "timeouts": 3,
}
_PASSIVE_HEALTHY: Final[Mapping[str, Any]] = {
    "http_statuses": [*range(200, 209), 226, *range(300, 309)],
    "successes": 5,
}
_PASSIVE_UNHEALTHY: Final[Mapping[str, Any]] = {
    "http_statuses": [429, 500, 503],
    "http_failures": 5,
    "tcp_failures": 2,
    "timeouts": 7,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """How many of what change a node's state. A count of 0 switches that sort off."""

    good_statuses: frozenset[int]
    bad_statuses: frozenset[int]
    successes: int
    limits: Mapping[Fault, int]

    @classmethod
    def of(cls, healthy: Mapping[str, Any], unhealthy: Mapping[str, Any]) -> "Rules":
        """Read one side (`active` or `passive`) of an upstream's `checks`."""
        return cls(
            good_statuses=frozenset(healthy["http_statuses"]),
            bad_statuses=frozenset(unhealthy["http_statuses"]),
            successes=healthy["successes"],
            limits={
                "http_failure": unhealthy["http_failures"],
                "tcp_failure": unhealthy["tcp_failures"],
                "timeout_failure": unhealthy["timeouts"],
            },
        )


class NodeHealth:
    """State and counters of one node."""

    __slots__ = ("counters", "state", "success")

    def __init__(self) -> None:
        self.state: State = "healthy"
        self.success = 0
        self.counters: dict[Fault, int] = {"http_failure": 0, "tcp_failure": 0, "timeout_failure": 0}

    @property
    def up(self) -> bool:
        """Whether requests may go there."""
        return self.state in {"healthy", "mostly_healthy"}

    def succeeded(self, limit: int) -> None:
        """Count a success."""
        if limit == 0 or self.state == "healthy":
            return
        self.success += 1
        self.counters = dict.fromkeys(self.counters, 0)
        if self.success >= limit:
            self.state = "healthy"
            self.success = 0
        elif self.state == "unhealthy":
            self.state = "mostly_unhealthy"

    def failed(self, fault: Fault, limit: int) -> None:
        """Count a failure."""
        if limit == 0 or self.state == "unhealthy":
            return
        self.success = 0
        self.counters[fault] += 1
        if self.counters[fault] >= limit:
            self.state = "unhealthy"
        elif self.state == "healthy":
            self.state = "mostly_healthy"


class Checker:
    """Probes the nodes of an upstream and keeps their states; `version` grows when one goes up or down."""

    def __init__(self, name: str, checks: Mapping[str, Any], targets: Mapping[str, Target]) -> None:
        self.name = name
        self.checks = checks
        self.targets = dict(targets)
        self.version = 0
        self.nodes = {key: NodeHealth() for key in targets}
        active = checks.get("active") or {}
        self._healthy = {**_ACTIVE_HEALTHY, **(active.get("healthy") or {})}
        self._unhealthy = {**_ACTIVE_UNHEALTHY, **(active.get("unhealthy") or {})}
        self._active = Rules.of(self._healthy, self._unhealthy)
        passive = checks.get("passive")
        self._passive = None if passive is None else _passive_rules(passive)
        self._probe = Probe.of(active)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def kind(self) -> str:
        """`http`, `https` or `tcp`."""
        return self._probe.kind

    def is_up(self, key: str) -> bool:
        """Return whether a node may be asked."""
        node = self.nodes.get(key)
        return node is None or node.up

    def answered(self, key: str, status: int) -> None:
        """Take note of an answer that a client's request got."""
        if self._passive is not None:
            self._judge(key, self._passive, status)

    def failed(self, key: str, fault: Fault) -> None:
        """Take note of a client's request that got no answer."""
        if self._passive is not None:
            self._count(key, self._passive, fault)

    def follow(self, targets: Mapping[str, Target]) -> None:
        """Take other nodes; those that stay keep their state."""
        self.targets = dict(targets)
        self.nodes = {key: self.nodes.get(key) or NodeHealth() for key in targets}
        self.version += 1

    def start(self) -> None:
        """Begin to probe, if there is an active side."""
        if self._tasks or "active" not in self.checks:
            return
        loop = asyncio.get_running_loop()
        for up, interval in ((True, self._healthy["interval"]), (False, self._unhealthy["interval"])):
            if interval > 0:
                self._tasks.append(loop.create_task(self._rounds(interval, up=up)))

    def stop(self) -> None:
        """Probe no more."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    async def probe(self, *, up: bool) -> None:
        """Probe all nodes that are up, or all that are down, once."""
        keys = [key for key, node in self.nodes.items() if node.up is up]
        limit = asyncio.Semaphore(self._probe.concurrency)

        async def one(key: str) -> None:
            async with limit:
                target = self.targets.get(key)
                if target is None:
                    return
                status = await self._probe.ask(target)
            if isinstance(status, str):
                self._count(key, self._active, status)
            elif status is None:
                self._change(key, lambda node: node.succeeded(self._active.successes))
            else:
                self._judge(key, self._active, status)

        await asyncio.gather(*map(one, keys))

    # -- inside

    async def _rounds(self, interval: float, *, up: bool) -> None:
        while True:
            await asyncio.sleep(interval)
            await self.probe(up=up)

    def _judge(self, key: str, rules: Rules, status: int) -> None:
        if status in rules.good_statuses:
            self._change(key, lambda node: node.succeeded(rules.successes))
        elif status in rules.bad_statuses or status == 0:
            self._count(key, rules, "http_failure")

    def _count(self, key: str, rules: Rules, fault: Fault) -> None:
        self._change(key, lambda node: node.failed(fault, rules.limits[fault]))

    def _change(self, key: str, change: Any) -> None:
        node = self.nodes.get(key)
        if node is None:
            return
        before = node.up
        change(node)
        if node.up is not before:
            self.version += 1
            log.warning("node %s of %s is %s", key, self.name, "healthy again" if node.up else "unhealthy")


class HealthRegistry:
    """The checkers that run, by the name of their upstream."""

    def __init__(self) -> None:
        self._checkers: dict[str, Checker] = {}

    def obtain(self, name: str, checks: Mapping[str, Any], targets: Mapping[str, Target]) -> Checker:
        """Return the upstream's checker; unchanged nodes keep what is known of them."""
        known = self._checkers.get(name)
        if known is not None and known.checks == checks:
            if known.targets != targets:
                known.follow(targets)
            return known
        checker = Checker(name, checks, targets)
        if known is not None:
            known.stop()
            checker.nodes.update({key: node for key, node in known.nodes.items() if key in targets})
        self._checkers[name] = checker
        checker.start()
        return checker

    def retain(self, names: Iterable[str]) -> None:
        """Stop the checkers of upstreams that are gone."""
        for name in self._checkers.keys() - set(names):
            self._checkers.pop(name).stop()

    def stop(self) -> None:
        """Stop them all."""
        self.retain(())

    def states(self) -> list[dict[str, Any]]:
        """Return what APISIX's control API says at `/v1/healthcheck`."""
        return [
            {
                "name": checker.name,
                "type": checker.kind,
                "nodes": [
                    {
                        "hostname": checker.targets[key].shown_host,
                        "ip": checker.targets[key].host,
                        "port": checker.targets[key].port,
                        "status": node.state,
                        "counter": {"success": node.success, **node.counters},
                    }
                    for key, node in checker.nodes.items()
                ],
            }
            for checker in self._checkers.values()
        ]


def _passive_rules(passive: Mapping[str, Any]) -> Rules:
    return Rules.of(
        {**_PASSIVE_HEALTHY, **(passive.get("healthy") or {})},
        {**_PASSIVE_UNHEALTHY, **(passive.get("unhealthy") or {})},
    )
