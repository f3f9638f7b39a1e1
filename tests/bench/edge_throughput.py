"""How many requests the embedded gateway serves in a CPU second, and what each of our steps costs.

    python tests/bench/edge_throughput.py [--seconds 4] [--rounds 3] [--organizations 1000] [--json FILE]

All variants are measured in one run, in turns, so that a busy machine slows them alike; what is compared is
requests per CPU second of the gateway's process, read from /proc. The load comes from wrk (`apt-get install
wrk`) over random keys, the upstream is a few lines of asyncio in a process of its own.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession
from redis.asyncio import Redis
from tests.gateway.harness import Admin, Gateway, running_edge
from tests.plugins.accounts import this_month

from farebox_cli.servers import embedded_redis
from farebox_contract import counters, keys

UPSTREAM: Final = """
import asyncio, sys, uvloop
BODY = b'{"id":"msg_1","sent":true}\\n'
HEAD = b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 27\\r\\n\\r\\n'
class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.rest = transport, b''
    def data_received(self, data):
        self.rest += data
        while b'\\r\\n\\r\\n' in self.rest:
            self.rest = self.rest.partition(b'\\r\\n\\r\\n')[2]
            self.transport.write(HEAD + BODY)
async def main():
    server = await asyncio.get_running_loop().create_server(Server, '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
uvloop.run(main())
"""
WRK_SCRIPT: Final = """
local keys = {}
for line in io.lines('%s') do keys[#keys + 1] = line end
local thread = 0
function setup(t) t:set('number', thread); thread = thread + 1 end
function init() math.randomseed(number + 1) end
function request()
  return wrk.format('GET', nil, {['Authorization'] = 'Bearer ' .. keys[math.random(#keys)]})
end
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to measure: a path of one of the running gateways."""

    name: str
    gateway: Gateway
    path: str


@dataclass(frozen=True, slots=True)
class Round:
    """What one turn of one variant gave."""

    requests: int
    seconds: float
    cpu: float
    p99_ms: float
    errors: int

    @property
    def per_cpu_second(self) -> float:
        """Requests for each second of CPU."""
        return self.requests / self.cpu


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(variant: Variant, script: Path, *, seconds: int, connections: int) -> Round:
    """Load one variant for some seconds."""
    before, began = cpu_seconds(variant.gateway.pid), time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        "taskset",
        "-c",
        str(max(os.sched_getaffinity(0))),
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
        f"{variant.gateway.data}{variant.path}",
        stdout=subprocess.PIPE,
    )
    said = (await process.communicate())[0].decode()
    took, cpu = time.perf_counter() - began, cpu_seconds(variant.gateway.pid) - before
    requests = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    assert p99 is not None, said
    factor = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Round(requests, took, cpu, float(p99[1]) * factor, int(bad[1]) if bad else 0)


@asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    """Run the upstream in a process of its own."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", UPSTREAM, stdout=subprocess.PIPE)
    assert process.stdout is not None
    pin(process.pid, -1)
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


def pin(pid: int, core: int) -> None:
    """Keep a process on one core: the gateway alone on the first, the load and the upstream on the second.

    Else the cost of a send would depend on whether it has to wake its receiver on another core, and that on
    how busy the machine is: it would measure the scheduler.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core]})


async def fill(gateway: Gateway, port: int, issued: list[keys.IssuedKey], *, with_plan: bool = True) -> None:
    """Give a gateway the routes, the plan, and an organization for each key."""
    pin(gateway.pid, 0)
    node = {"nodes": {f"127.0.0.1:{port}": 1}}
    plan = {
        "limits": [{"name": "minute", "requests": 10**9, "window": 60}],
        "quota": {"units": 10**9, "kind": "hard"},
    }
    async with ClientSession() as session:
        admin = Admin(gateway, session)
        for name, used in (
            ("plain", ()),
            ("auth", ("farebox-auth",)),
            ("full", ("farebox-auth", "farebox-limit", "farebox-meter")),
        ):
            plugins: dict[str, dict[str, Any]] = {plugin: {} for plugin in used}
            await admin.put(f"/routes/{name}", {"uri": f"/{name}", "plugins": plugins, "upstream": node})
        await admin.put("/consumer_groups/plan", {"plugins": {"farebox-limit": plan}})
        for key in issued:
            plugins = {"farebox-auth": {"state": "active"}}
            consumer = {"username": key.name.organization, "plugins": plugins}
            if with_plan:
                terms = {"subscription": key.name.organization, "periods": this_month()}
                plugins["farebox-limit"] = terms
                consumer["group_id"] = "plan"
            await admin.put("/consumers", consumer)
            credential = {"farebox-auth": {"digest": key.digest, "environment": "live"}}
            await admin.put(
                f"/consumers/{key.name.organization}/credentials/{key.name.key}", {"plugins": credential}
            )


async def run(seconds: int, rounds: int, organizations: int, connections: int) -> dict[str, Any]:
    """Measure all variants in turns; return what docs/benchmarks.md quotes."""
    issued = [keys.issue("live", keys.public_id(), keys.public_id()) for _ in range(organizations)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "keys").write_text("\n".join(key.text for key in issued) + "\n")
        script = folder / "random_keys.lua"
        script.write_text(WRK_SCRIPT % (folder / "keys"))
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(upstream())
            redis = await stack.enter_async_context(embedded_redis(folder / "redis", appendonly=False))
            async with Redis.from_url(redis.url) as connection:
                await connection.set(counters.GENERATION_KEY, "bench")
            bare = await stack.enter_async_context(running_edge(folder / "bare", LOG_PATH=""))
            local = await stack.enter_async_context(running_edge(folder / "local"))
            shared = await stack.enter_async_context(
                running_edge(folder / "shared", COUNTERS="redis", REDIS_URL=redis.url)
            )
            keyed = await stack.enter_async_context(running_edge(folder / "keyed"))
            for gateway in (bare, local, shared):
                await fill(gateway, port, issued)
            await fill(keyed, port, issued, with_plan=False)
            variants = [
                Variant("proxy, no plugin, no line", bare, "/plain"),
                Variant("+ usage line", local, "/plain"),
                Variant("+ farebox-auth", keyed, "/auth"),
                Variant("+ farebox-limit, local counters", local, "/full"),
                Variant("+ farebox-limit, Redis counters", shared, "/full"),
            ]
            for variant in variants:
                await measure(variant, script, seconds=1, connections=connections)
            measured: dict[str, list[Round]] = {variant.name: [] for variant in variants}
            for _ in range(rounds):
                for variant in variants:
                    measured[variant.name].append(
                        await measure(variant, script, seconds=seconds, connections=connections)
                    )
    return summary(measured, organizations, connections)


def summary(measured: dict[str, list[Round]], organizations: int, connections: int) -> dict[str, Any]:
    """Return medians; a ratio is the median of the turns' own ratios, so that a busy turn counts as one."""
    names = list(measured)
    rows = []
    for name in names:
        found = measured[name]
        ratios = [
            one.per_cpu_second / base.per_cpu_second
            for one, base in zip(found, measured[names[0]], strict=True)
        ]
        rows.append(
            {
                "variant": name,
                "requests_per_cpu_second": round(statistics.median(one.per_cpu_second for one in found)),
                "requests_per_second": round(statistics.median(one.requests / one.seconds for one in found)),
                "p99_ms": round(statistics.median(one.p99_ms for one in found), 2),
                "ratio": round(statistics.median(ratios), 3),
                "errors": sum(one.errors for one in found),
            }
        )
    return {
        "organizations": organizations,
        "connections": connections,
        "rounds": len(measured[names[0]]),
        "rows": rows,
    }


def table(result: dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [
        "| variant | requests per CPU second | of the bare proxy | requests/s | p99 ms | errors |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['variant']} | {row['requests_per_cpu_second']:,} | {row['ratio']:.2f} |"
        f" {row['requests_per_second']:,} | {row['p99_ms']} | {row['errors']} |"
        for row in result["rows"]
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--organizations", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not there: apt-get install wrk")
    result = asyncio.run(run(given.seconds, given.rounds, given.organizations, given.connections))
    print(table(result))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    else:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
