"""How far a limit and a quota are passed, or refused early, with 1, 2 and 4 nodes under load.

    python -m tests.bench.overshoot [--nodes 1 2 4] [--limit 8000] [--rounds 3] [--json FILE]

Several embedded gateways on one Redis, and a real Apache APISIX with our plugins as one node among them,
named by FAREBOX_TEST_GATEWAY_ADMIN_URL, `_DATA_URL`, `_ADMIN_KEY` and `_REDIS_URL` (see
`apisix_gateways`); its Redis is seeded anew. Without them the program says what is missing and ends with
status 2; `--embedded` measures embedded gateways alone, on a Redis of its own. wrk must be installed.

Each round is a new organization with a window and a quota, of which one runs out. What was let in is what
the clients counted as 200. Three things are tried, each against a bound of `farebox_contract.counters`:

- `load`: all nodes are loaded at once until the counter has run out and for seconds beyond. Nothing may
  pass it.
- `early`: every node has served one request and holds what it was handed; one node is asked until it
  refuses. It may do so `early_refusals(limit, nodes)` units early.
- `reseed`: under load the counters are seeded anew, as if all that was handed out last had not been heard of.
  The limit may be passed by `units_past_a_reseed(limit, nodes)`.
"""

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import uvloop
from aiohttp import ClientSession
from redis.asyncio import Redis
from tests.bench import apisix_gateways as gateways
from tests.bench.edge_throughput import upstream
from tests.bench.sync_world import show
from tests.gateway.harness import Admin, Gateway, running_edge
from tests.plugins.accounts import this_month

from farebox_cli.servers import embedded_redis
from farebox_contract import counters, keys

Kind = Literal["window", "quota"]
ROUTE: Final = "bench-over"
WINDOW: Final = 300
"""Seconds. A round must lie within one window, so it begins early enough in one."""
ROUND: Final = 120
WIDE: Final = 10**9
LOADED: Final = 3
"""Seconds of load between two looks at the counter."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one node's client was told, over the whole round."""

    allowed: int
    refused: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One organization with its key, and which counter is to run out."""

    kind: Kind
    limit: int
    key: keys.IssuedKey
    periods: list[dict[str, int]]

    @property
    def counter(self) -> str:
        """The counter in Redis that runs out."""
        if self.kind == "quota":
            return counters.quota_key(self.key.name.organization, self.periods[0]["start"])
        start, _ = counters.window_bounds(int(time.time() * 1000), WINDOW)
        return counters.window_key(self.key.name.organization, "narrow", start)

    def objects(self, port: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return paths and values for the Admin API, in order."""
        organization, key = self.key.name.organization, self.key.name.key
        window, quota = (self.limit, WIDE) if self.kind == "window" else (WIDE, self.limit)
        plan = {
            "limits": [{"name": "narrow", "requests": window, "window": WINDOW}],
            "quota": {"units": quota, "kind": "hard"},
            "without_counter": "closed",
        }
        terms = {"subscription": organization, "periods": self.periods}
        plugins = {"farebox-auth": {"state": "active"}, "farebox-limit": terms}
        credential = {"farebox-auth": {"digest": self.key.digest, "environment": "live"}}
        node = {"type": "roundrobin", "nodes": {f"127.0.0.1:{port}": 1}}
        on_route: dict[str, Any] = {"farebox-auth": {}, "farebox-limit": {}}
        yield f"/routes/{ROUTE}", {"uri": f"/{ROUTE}", "plugins": on_route, "upstream": node}
        yield f"/consumer_groups/{organization}", {"plugins": {"farebox-limit": plan}}
        yield "/consumers", {"username": organization, "plugins": plugins, "group_id": organization}
        yield f"/consumers/{organization}/credentials/{key}", {"plugins": credential}


async def _wrk(node: Gateway, key: str, seconds: int) -> Found:
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t1", "-c8", f"-d{seconds}s", "-H", f"X-API-Key: {key}", f"{node.data}/{ROUTE}",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said = (await process.communicate())[0].decode()
    requests = re.search(r"(\d+) requests in", said)
    assert requests is not None, said
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    refused = int(bad[1]) if bad else 0
    return Found(int(requests[1]) - refused, refused)


async def _load(node: Gateway, trial: Trial, redis: Redis) -> Found:
    """Load one node until the counter has run out, and for some seconds more."""
    found = Found(0, 0)
    over = False
    while not over:
        over = int(await redis.get(trial.counter) or 0) >= trial.limit
        more = await _wrk(node, trial.key.text, LOADED)
        found = Found(found.allowed + more.allowed, found.refused + more.refused)
    return found


async def _known(node: Gateway, session: ClientSession, key: str) -> None:
    """Wait until a node knows the account and its plan, by a request that takes one unit of each counter."""
    for _ in range(500):
        async with session.get(f"{node.data}/{ROUTE}", headers={"X-API-Key": key}) as response:
            await response.read()
            if response.status == 200 and "X-RateLimit-Limit" in response.headers:
                return
        await asyncio.sleep(0.02)
    sys.exit(f"{node.data} does not enforce what was written: is its Redis seeded?")


async def _reseed(redis: Redis, counter: str, spare: int) -> None:
    """Seed the counter anew, as a worker does that has heard of all but the `spare` units used last."""
    await redis.delete(counters.GENERATION_KEY)
    used = int(await redis.get(counter) or 0)
    await redis.set(counter, max(0, used - spare))
    await redis.set(counters.GENERATION_KEY, f"bench-{time.time_ns()}")


async def _drain(node: Gateway, session: ClientSession, key: str) -> int:
    """Ask one node, eight at a time, until it refuses; return how many it let in."""
    allowed, over = 0, False

    async def ask() -> None:
        nonlocal allowed, over
        while not over:
            async with session.get(f"{node.data}/{ROUTE}", headers={"X-API-Key": key}) as response:
                await response.read()
                allowed += response.status == 200
                over = over or response.status == 429

    await asyncio.gather(*(ask() for _ in range(8)))
    return allowed


async def _trial(
    trial: Trial, nodes: list[Gateway], redis: Redis, port: int, what: Literal["load", "early", "reseed"]
) -> dict[str, Any]:
    count = len(nodes)
    left = WINDOW - time.time() % WINDOW
    if left < ROUND:
        await asyncio.sleep(left + 0.1)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession())
        for node in nodes:
            admin = Admin(node, session)
            stack.push_async_callback(admin.clean)
            for path, value in trial.objects(port):
                await admin.put(path, value)
        for node in nodes:
            await _known(node, session, trial.key.text)
        allowed, row = count, {"nodes": count, "counter": trial.kind, "limit": trial.limit, "what": what}
        if what == "early":
            allowed += await _drain(nodes[0], session, trial.key.text)
            bound = counters.early_refusals(trial.limit, count)
            return {**row, "allowed": allowed, "early": trial.limit - allowed, "bound": bound}
        loads = [asyncio.create_task(_load(node, trial, redis)) for node in nodes]
        if what == "reseed":
            while int(await redis.get(trial.counter) or 0) < trial.limit // 2:
                await asyncio.sleep(0.005)
            await _reseed(redis, trial.counter, counters.units_past_a_reseed(trial.limit, count))
        found = await asyncio.gather(*loads)
        allowed += sum(one.allowed for one in found)
        bound = counters.units_past_a_reseed(trial.limit, count) if what == "reseed" else 0
        return {
            **row,
            "allowed": allowed,
            "refused": sum(one.refused for one in found),
            "in_redis": int(await redis.get(trial.counter) or 0),
            "overshoot": max(0, allowed - trial.limit),
            "bound": bound,
        }


@asynccontextmanager
async def _nodes(
    count: int, folder: Path, redis_url: str, named: Gateway | None
) -> AsyncIterator[list[Gateway]]:
    async with AsyncExitStack() as stack:
        found = [] if named is None else [named]
        while len(found) < count:
            name = f"edge-{len(found)}"
            settings = {"COUNTERS": "redis", "REDIS_URL": redis_url, "NODE": name}
            found.append(await stack.enter_async_context(running_edge(folder / name, **settings)))
        yield found


async def run(given: argparse.Namespace) -> None:
    """Measure and print."""
    rows: list[dict[str, Any]] = [gateways.machine()]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = await stack.enter_async_context(upstream())
        named = None
        if given.embedded:
            server = await stack.enter_async_context(embedded_redis(folder / "redis", appendonly=False))
            redis_url = server.url
        else:
            apisix = gateways.named()
            redis_url = apisix.setting("REDIS_URL")
            named = Gateway(apisix.admin, apisix.data, apisix.admin_key, foreign=True)
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        await redis.set(counters.GENERATION_KEY, f"bench-{time.time_ns()}")
        for count in given.nodes:
            async with _nodes(count, folder / str(count), redis_url, named) as nodes:
                for what in ("load", "early", "reseed"):
                    for kind in ("window", "quota"):
                        for _ in range(given.rounds):
                            key = keys.issue("live", keys.public_id(), keys.public_id())
                            # An idle lease must not go back before one node has drained the rest.
                            limit = given.limit // 16 if what == "early" else given.limit
                            trial = Trial(kind, limit, key, this_month())
                            rows.append(await _trial(trial, nodes, redis, port, what))
                            print(rows[-1], file=sys.stderr, flush=True)
    show(rows, given.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--limit", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--embedded", action="store_true", help="embedded gateways alone")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    if not arguments.embedded:
        gateways.need(*gateways.family_needs("FAREBOX_TEST_GATEWAY", "REDIS_URL"))
    if shutil.which("wrk") is None:
        print("wrk is not there: apt-get install wrk", file=sys.stderr)
        sys.exit(2)
    uvloop.run(run(arguments))
