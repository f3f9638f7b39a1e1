"""Whose turn it is among the nodes of an upstream: APISIX's four ways of choosing, within one priority.

Each picker is told which nodes were tried for this request and never names one of them again. None knows of
requests, health or priorities; `upstream` does.
"""

import random
import struct
import time
import zlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import exp, gcd
from types import MappingProxyType
from typing import Final, Protocol

_POINTS: Final = 160
_DECAY_SECONDS: Final = 10.0
_LONGEST_CYCLE: Final = 1000


@dataclass(frozen=True, slots=True)
class Node:
    """One server; `base` is scheme and authority, to which the request's target is appended."""

    authority: str
    base: str
    host: str = ""
    port: int = 80
    weight: int = 1
    priority: int = 0

    @property
    def key(self) -> str:
        """Host and port as APISIX names a node."""
        return f"{self.host}:{self.port}"


class Picker(Protocol):
    """One way of choosing."""

    def pick(self, key: Callable[[], str], tried: Collection[Node]) -> Node | None:
        """Return a node that was not tried; `key` gives the request's hash key when it is asked for."""

    def release(self, node: Node, seconds: float | None) -> None:
        """Learn that a request is through with a node; how long its answer took, if it came."""


class RoundRobin:
    """nginx's smooth weighted round-robin, made once for a whole round."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._cycle = _smooth([(node, node.weight) for node in nodes if node.weight > 0])
        self._turn = -1

    def pick(self, key: Callable[[], str], tried: Collection[Node]) -> Node | None:
        """Return the next that was not tried."""
        del key
        cycle = self._cycle
        for _ in cycle:
            self._turn = turn = (self._turn + 1) % len(cycle)
            if cycle[turn] not in tried:
                return cycle[turn]
        return None

    def release(self, node: Node, seconds: float | None) -> None:
        """Nothing to learn."""


class ConsistentHash:
    """A ring of 160 points for each weight, laid out as nginx and lua-resty-chash lay it out.

    A key meets the same node in this gateway and in APISIX; leaving or joining nodes move only their share.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        share = reduce(gcd, (node.weight for node in nodes), 0) or 1
        points: list[tuple[int, Node]] = []
        for node in nodes:
            name, last = node.key.replace(":", "\0").encode(), 0
            for _ in range(node.weight // share * _POINTS):
                last = zlib.crc32(struct.pack("<I", last), zlib.crc32(name))
                points.append((last, node))
        points.sort(key=lambda point: point[0])
        self._hashes = [point[0] for point in points]
        self._nodes = [point[1] for point in points]

    def pick(self, key: Callable[[], str], tried: Collection[Node]) -> Node | None:
        """Return the first untried node at or after the key's place on the ring."""
        if not self._hashes:
            return None
        place = bisect_left(self._hashes, zlib.crc32(key().encode("utf-8", "surrogateescape")))
        for step in range(len(self._nodes)):
            node = self._nodes[(place + step) % len(self._nodes)]
            if node not in tried:
                return node
        return None

    def release(self, node: Node, seconds: float | None) -> None:
        """Nothing to learn."""


class LeastConnections:
    """The node with the fewest requests in flight for its weight."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = [node for node in nodes if node.weight > 0]
        self._open = dict.fromkeys(self._nodes, 0)
        self._first = 0

    def pick(self, key: Callable[[], str], tried: Collection[Node]) -> Node | None:
        """Return the least busy; of equals, in turn."""
        del key
        free = [node for node in self._nodes if node not in tried]
        if not free:
            return None
        self._first += 1
        start = self._first % len(free)
        best = min(free[start:] + free[:start], key=lambda node: (1 + self._open[node]) / node.weight)
        self._open[best] += 1
        return best

    def release(self, node: Node, seconds: float | None) -> None:
        """Count one less in flight."""
        del seconds
        if self._open.get(node, 0) > 0:
            self._open[node] -= 1


class FastestAnswers:
    """`ewma`: the better of two nodes drawn at random, by a decaying mean of their answers' times."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = [node for node in nodes if node.weight > 0]
        self._scores: dict[Node, tuple[float, float]] = {}

    def pick(self, key: Callable[[], str], tried: Collection[Node]) -> Node | None:
        """Return the better of two."""
        del key
        free = [node for node in self._nodes if node not in tried]
        if not free:
            return None
        now = time.monotonic()
        drawn = random.sample(free, min(2, len(free)))
        return min(drawn, key=lambda node: self._score(node, now))

    def release(self, node: Node, seconds: float | None) -> None:
        """Take an answer's time into the mean."""
        if seconds is None:
            return
        now = time.monotonic()
        score, at = self._scores.get(node, (seconds, now))
        weight = exp(-max(0.0, now - at) / _DECAY_SECONDS)
        self._scores[node] = (score * weight + seconds * (1 - weight), now)

    def _score(self, node: Node, now: float) -> float:
        score, at = self._scores.get(node, (0.0, now))
        return score * exp(-max(0.0, now - at) / _DECAY_SECONDS)


PICKERS: Final[Mapping[str, Callable[[Sequence[Node]], Picker]]] = MappingProxyType(
    {
        "roundrobin": RoundRobin,
        "chash": ConsistentHash,
        "least_conn": LeastConnections,
        "ewma": FastestAnswers,
    }
)


def _smooth(weighted: list[tuple[Node, int]]) -> list[Node]:
    """Return one round of nginx's smooth weighted round-robin, at most about a thousand turns long."""
    share = reduce(gcd, (weight for _, weight in weighted), 0) or 1
    weighted = [(node, weight // share) for node, weight in weighted]
    total = sum(weight for _, weight in weighted)
    if total > _LONGEST_CYCLE:
        weighted = [(node, max(1, round(weight * _LONGEST_CYCLE / total))) for node, weight in weighted]
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
