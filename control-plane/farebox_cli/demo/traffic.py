"""A month of traffic for the demo: usage lines in the contract's form, made up and said to be.

They are what a second gateway node's log would hold. The numbers are drawn from a seed, so a run can be
repeated; the storyteller counts what it wrote and compares it with what was metered.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farebox_contract.usage_line import Outcome, UsageLine, encode

_PATHS: Final = (("POST", "/v1/messages/send"), ("GET", "/v1/messages/msg_1024"))


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose requests are written: the names that stand in a usage line."""

    organization: str
    subscription: str
    group: str
    live_key: str
    test_key: str


@dataclass(frozen=True, slots=True)
class Mix:
    """How many lines of each kind."""

    billable: int
    rate_limited: int
    failed: int
    unauthorized: int
    test: int

    @property
    def lines(self) -> int:
        """All of them."""
        return self.billable + self.rate_limited + self.failed + self.unauthorized + self.test


@dataclass(slots=True)
class GeneratedNode:
    """One stream of a made-up worker: its numbers go on from file to file."""

    node: str
    boot: str
    random: random.Random
    seq: int = 0

    def write(self, path: Path, caller: Caller, mix: Mix, *, first_ms: int, last_ms: int) -> None:
        """Write `mix` in random order to `path`, starts spread evenly from `first_ms` to `last_ms`."""
        kinds = list(_kinds(mix))
        self.random.shuffle(kinds)
        step = max(last_ms - first_ms, 1) / max(len(kinds), 1)
        with path.open("wb") as file:
            for position, kind in enumerate(kinds):
                file.write(encode(self._line(caller, kind, first_ms + int(position * step))))

    def _line(self, caller: Caller, kind: str, start_ms: int) -> UsageLine:
        self.seq += 1
        known = kind != "unauthorized"
        status, outcome = _RESULTS[kind]
        method, path = self.random.choice(_PATHS)
        upstream_us = self.random.randint(900, 9_000) if outcome == "served" else None
        return UsageLine(
            v=1,
            ts=start_ms,
            node=self.node,
            boot=self.boot,
            worker=0,
            seq=self.seq,
            rid=f"{self.random.getrandbits(128):032x}",
            env=("test" if kind == "test" else "live") if known else None,
            org=caller.organization if known else None,
            key=(caller.test_key if kind == "test" else caller.live_key) if known else None,
            sub=caller.subscription if known else None,
            group=caller.group if known else None,
            route="messages",
            method=method,
            path=path,
            status=status,
            outcome=outcome,
            units=1,
            in_=self.random.randint(150, 900),
            out=self.random.randint(200, 2_000),
            us=(upstream_us or 0) + self.random.randint(80, 400),
            up_us=upstream_us,
            ip="203.0.113.7",
            ua="made-up-traffic/1",
        )


_RESULTS: Final[dict[str, tuple[int, Outcome]]] = {
    "billable": (200, "served"),
    "test": (200, "served"),
    "rate_limited": (429, "rate_limited"),
    "failed": (502, "upstream_error"),
    "unauthorized": (401, "unauthorized"),
}


def _kinds(mix: Mix) -> Iterator[str]:
    for kind in ("billable", "rate_limited", "failed", "unauthorized", "test"):
        for _ in range(getattr(mix, kind)):
            yield kind
