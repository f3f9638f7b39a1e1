"""How long a change of one key takes to be enforced by a real Apache APISIX, ours beside stock `key-auth`.

    python -m tests.bench.apisix_key_changes [--organizations 1000 20000 100000] [--rounds 200] [--json FILE]

What must stand: an APISIX with one worker, our plugins and `gateway/apisix/config.yaml`, the global rule
`{"farebox-meter": {}}`, and no consumers; and an APISIX of the same build with its stock configuration
and one worker. Their variables, FAREBOX_TEST_GATEWAY_* and FAREBOX_TEST_STOCK_*, are in
`apisix_gateways`: `_ADMIN_URL`, `_DATA_URL`, `_ADMIN_KEY`, `_ETCD_URL`, `_PID_FILE`. Without
FAREBOX_TEST_STOCK_ADMIN_URL only ours is measured.

The organizations, each a consumer with one credential, are loaded straight into etcd. A change then goes
through the Admin API over one connection. `issued` runs from sending the PUT of a credential to the first
answer that lets the key in, `revoked` from sending the DELETE to the first that refuses it; the data
plane is asked every millisecond over one connection. Other traffic is a keyed route asked 200 times a
second (`apisix_steady_load`), in turns without and with two changes a second. Stock `key-auth` gets few
rounds and a time limit: its Admin API reads all keys for each.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop
from tests.bench import apisix_gateways as gateways
from tests.bench.apisix_gateways import Etcd, Named, at
from tests.bench.edge_throughput import upstream
from tests.bench.sync_world import show

from farebox_contract import keys

ROUTE: Final = "bench-keys"
CAUGHT_UP: Final = 300.0
STOCK_LIMIT: Final = 90.0
"""Seconds that stock key-auth has for its rounds at one size."""
CHANGED: Final = 999_000_000
"""From this number on keys are those that a benchmark changes."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two gateways, and how its consumers, keys and route look."""

    name: str
    gateway: Named
    ours: bool

    def route(self, port: int) -> dict[str, Any]:
        """Return the keyed route."""
        plugins: dict[str, Any] = {"key-auth": {}}
        if self.ours:
            plugins = {"farebox-auth": {}, "farebox-limit": {}}
        return {
            "uri": f"/{ROUTE}",
            "plugins": plugins,
            "upstream": {"type": "roundrobin", "nodes": {f"127.0.0.1:{port}": 1}},
        }

    def consumer(self, key: keys.IssuedKey) -> dict[str, Any]:
        """Return the consumer of a key."""
        plugins: dict[str, Any] = {"farebox-auth": {"state": "active"}} if self.ours else {}
        return {"username": key.name.organization, "plugins": plugins}

    def credential(self, key: keys.IssuedKey) -> dict[str, Any]:
        """Return the credential of a key."""
        if self.ours:
            return {"plugins": {"farebox-auth": {"digest": key.digest, "environment": "live"}}}
        return {"plugins": {"key-auth": {"key": key.text}}}

    def headers(self, key: keys.IssuedKey) -> dict[str, str]:
        """Return the headers by which a key is sent."""
        return {"X-API-Key": key.text} if self.ours else {"apikey": key.text}

    def objects(self, numbers: range) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return what stands in etcd for these organizations."""
        now = int(time.time())
        times = {"create_time": now, "update_time": now}
        for number in numbers:
            key = gateways.loaded_key(number)
            path = f"/consumers/{key.name.organization}"
            yield path, {**self.consumer(key), **times}
            yield f"{path}/credentials/{key.name.key}", {"id": key.name.key, **self.credential(key), **times}


@dataclass(slots=True)
class Changes:
    """What the rounds at one size gave, milliseconds."""

    issued: list[float] = field(default_factory=list)
    revoked: list[float] = field(default_factory=list)
    timed_out: bool = False

    def summary(self) -> dict[str, Any]:
        """Return the quantiles that docs quote."""
        shown: dict[str, Any] = {"rounds": len(self.revoked), "timed_out": self.timed_out}
        for name, values in (("issued", self.issued), ("revoked", self.revoked)):
            if values:
                shown |= {
                    f"{name}_{label}": round(at(values, share), 1)
                    for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
                }
        return shown


class Changer:
    """Issues and revokes one key after another, and sees when the data plane follows."""

    def __init__(self, side: Side, calls: aiohttp.ClientSession, asks: aiohttp.ClientSession) -> None:
        self._side, self._calls, self._asks = side, calls, asks
        self._number = CHANGED

    async def _until(self, key: keys.IssuedKey, began: float, *, refused: bool) -> float:
        url, headers = f"{self._side.gateway.data}/{ROUTE}", self._side.headers(key)
        while True:
            async with self._asks.get(url, headers=headers) as response:
                await response.read()
                if (response.status == 401) is refused:
                    return (time.perf_counter() - began) * 1000
            await asyncio.sleep(0.001)

    async def _change(
        self, method: str, path: str, value: Any, key: keys.IssuedKey, *, refused: bool
    ) -> float:
        began = time.perf_counter()
        seen = asyncio.create_task(self._until(key, began, refused=refused))
        try:
            await gateways.admin(self._side.gateway, self._calls, method, path, value)
            return await seen
        finally:
            seen.cancel()

    async def rounds(self, count: int, pause: float = 0.02) -> Changes:
        """Issue and revoke keys of a loaded organization."""
        found = Changes()
        holder = gateways.loaded_key(1).name.organization
        for _ in range(count):
            self._number += 1
            name = keys.KeyName("live", holder, f"k{self._number}")
            text = keys.compose(keys.DEFAULT_PREFIX, name, f"{time.time_ns():032d}")
            key = keys.IssuedKey(name, text, keys.digest(text))
            path = f"/consumers/{holder}/credentials/{name.key}"
            found.issued.append(
                await self._change("PUT", path, self._side.credential(key), key, refused=False)
            )
            await asyncio.sleep(pause)
            found.revoked.append(await self._change("DELETE", path, None, key, refused=True))
            await asyncio.sleep(pause)
        return found

    async def within(self, count: int, seconds: float) -> Changes:
        """Do so for a limited time: what was found until then counts."""
        found = Changes()
        try:
            async with asyncio.timeout(seconds):
                for _ in range(count):
                    one = await self.rounds(1)
                    found.issued += one.issued
                    found.revoked += one.revoked
        except TimeoutError:
            found.timed_out = True
        return found


async def _steady(side: Side, seconds: float) -> list[float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.apisix_steady_load", str(side.gateway.port), f"/{ROUTE}",
        gateways.loaded_key(2).text, str(seconds), "200", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    found: list[float] = json.loads((await process.communicate())[0])
    return found


async def _traffic(side: Side, changer: Changer, seconds: float, turns: int) -> dict[str, Any]:
    """Measure other traffic in turns, without changes and with two changes a second."""
    quiet: list[float] = []
    changing: list[float] = []
    for _ in range(turns):
        quiet += await _steady(side, seconds)
        load = asyncio.create_task(_steady(side, seconds))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changer.rounds(10**6, pause=0.5)
        changing += await load
    refused = sum(value < 0 for value in quiet + changing)
    shown: dict[str, Any] = {"others_refused": refused}
    for name, values in (("quiet", quiet), ("changing", changing)):
        for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            shown[f"others_{name}_{label}"] = round(at(values, share), 2)
    return shown


@contextlib.asynccontextmanager
async def _ready(side: Side, port: int) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=4)
    async with aiohttp.ClientSession(connector=connector) as calls:
        await gateways.admin(side.gateway, calls, "PUT", f"/routes/{ROUTE}", side.route(port))
        try:
            yield calls
        finally:
            await gateways.admin(side.gateway, calls, "DELETE", f"/routes/{ROUTE}")


async def _size(
    side: Side, calls: aiohttp.ClientSession, have: int, count: int, given: Any
) -> dict[str, Any]:
    etcd = Etcd(side.gateway, calls)
    began = time.perf_counter()
    await etcd.put(side.objects(range(have + 1, count + 1)))
    loaded = time.perf_counter() - began
    last = gateways.loaded_key(count)
    row: dict[str, Any] = {"side": side.name, "organizations": count, "load_s": round(loaded, 1)}
    try:
        await gateways.until_status(side.gateway, f"/{ROUTE}", side.headers(last), 200, CAUGHT_UP)
    except TimeoutError:
        return {**row, "timed_out": True}
    row["caught_up_s"] = round(time.perf_counter() - began - loaded, 1)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as asks:
        changer = Changer(side, calls, asks)
        if side.ours:
            await changer.rounds(5)
            found = await changer.rounds(given.rounds)
            row |= found.summary() | await _traffic(side, changer, given.seconds, given.turns)
        else:
            found = await changer.within(given.rounds, STOCK_LIMIT)
            row |= found.summary()
            if found.revoked:
                row |= await _traffic(side, changer, given.seconds, 1)
    began = time.perf_counter()
    await gateways.admin(side.gateway, calls, "GET", "/consumers?page=1&page_size=500")
    row["page_s"] = round(time.perf_counter() - began, 2)
    row["worker_mib"] = round(gateways.resident_mib(side.gateway.worker()))
    row["load"] = gateways.machine()["load"]
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


async def _side(side: Side, port: int, given: Any) -> list[dict[str, Any]]:
    rows, have = [], 0
    async with _ready(side, port) as calls:
        try:
            for count in sorted(given.organizations):
                rows.append(await _size(side, calls, have, count, given))
                have = count
                if not side.ours and rows[-1]["timed_out"]:
                    break
        finally:
            names = (gateways.loaded_key(number).name.organization for number in range(1, have + 1))
            await Etcd(side.gateway, calls).delete(f"/consumers/{name}" for name in names)
    return rows


async def run(given: Any) -> None:
    """Measure both sides and print them."""
    sides = [Side("farebox", gateways.named(), ours=True)]
    if not given.only_ours:
        sides.append(Side("stock key-auth", gateways.named("FAREBOX_TEST_STOCK"), ours=False))
    rows = [gateways.machine()]
    async with upstream() as port:
        for side in sides:
            rows += await _side(side, port, given)
    show(rows, given.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--organizations", type=int, nargs="+", default=[1_000, 20_000, 100_000])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each turn of other traffic")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    beside = (
        [] if arguments.only_ours else gateways.family_needs("FAREBOX_TEST_STOCK", "ETCD_URL", "PID_FILE")
    )
    gateways.need(*gateways.family_needs("FAREBOX_TEST_GATEWAY", "ETCD_URL", "PID_FILE"), *beside)
    uvloop.run(run(arguments))
