"""What a pass over everything costs, beside the bare HTTP cost of the same Admin API calls.

    python tests/bench/sync_full_pass.py [--organizations 100000] [--json FILE]

Three passes by the real command, `farebox sync all`, each a process of its own (`process_s`, its start
included) whose peak memory the kernel tells: from an empty gateway, with nothing to change, and with one
organization in a thousand changed. The bare cost is a loop of the same calls over the same client library,
without database, translation or comparison. PostgreSQL, the gateway and the command share the machine's
cores.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from tests.bench.sync_world import Bench, bench, environment, show
from tests.gateway.harness import Gateway, running_edge

from farebox_worker.sync.reconcile import CONCURRENCY


def _pass(world: Bench) -> dict[str, Any]:
    """Run `farebox sync all` and return its report, with seconds and peak memory as the kernel saw them."""
    began = time.perf_counter()
    read, write = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "farebox_cli", "sync", "all", "--json"],
        environment(world.variables),
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_CLOSE, read)],
    )
    os.close(write)
    with os.fdopen(read) as output:
        text = output.read()
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, text
    report: dict[str, Any] = json.loads(text)
    return {
        "seconds": report["seconds"],
        "process_s": time.perf_counter() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "organizations": report["organizations"],
        "writes": report["writes"],
        "failed": report["failed"],
    }


async def _bare(gateway: Gateway, calls: list[tuple[str, str, bytes | None]]) -> float:
    """Make the calls, as many at once as a pass makes; return the seconds."""
    async with aiohttp.ClientSession(headers={"X-API-KEY": gateway.admin_key}) as session:

        async def worker(mine: list[tuple[str, str, bytes | None]]) -> None:
            for method, path, body in mine:
                async with session.request(
                    method, f"{gateway.admin}/apisix/admin/{path}", data=body
                ) as response:
                    await response.read()
                    assert response.status in {200, 201}, await response.text()

        began = time.perf_counter()
        await asyncio.gather(*(worker(calls[index::CONCURRENCY]) for index in range(CONCURRENCY)))
        return time.perf_counter() - began


def _names(count: int) -> list[str]:
    return [f"o{number:09d}" for number in range(1, count + 1)]


def _puts(count: int) -> tuple[list[Any], list[Any]]:
    """The consumers and the credentials that a pass writes to an empty gateway."""
    labels = {"managed-by": "farebox", "farebox-revision": "1"}
    consumers, credentials = [], []
    for name in _names(count):
        period = [
            {"start": 1795000000000, "end": 1796000000000},
            {"start": 1796000000000, "end": 1797000000000},
        ]
        limit = {"subscription": "s" + name[1:], "periods": period}
        plugins = {"farebox-auth": {"state": "active"}, "farebox-limit": limit}
        body = {"username": name, "plugins": plugins, "labels": {**labels, "farebox-period": "1795000000000"}}
        consumers.append(("PUT", f"consumers/{name}", json.dumps(body).encode()))
        auth = {"farebox-auth": {"digest": "ab" * 32, "environment": "live"}}
        body = {"plugins": auth, "labels": labels}
        path = f"consumers/{name}/credentials/k{name[1:]}"
        credentials.append(("PUT", path, json.dumps(body).encode()))
    return consumers, credentials


def _gets(count: int) -> list[tuple[str, str, bytes | None]]:
    pages: list[tuple[str, str, bytes | None]] = [
        ("GET", f"consumers?page={page}&page_size=500", None) for page in range(1, -(-count // 500) + 1)
    ]
    return pages + [("GET", f"consumers/{name}/credentials", None) for name in _names(count)]


async def run(count: int, path: Path | None) -> None:
    """Run everything and print it."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        folder.chmod(0o755)
        async with bench(folder, count) as world:

            async def measured(name: str) -> None:
                rows.append({"what": name, **await asyncio.to_thread(_pass, world)})
                print(rows[-1], file=sys.stderr)

            await measured("pass, from empty")
            await measured("pass, nothing to change")
            from farebox.db import Database

            database = Database(world.urls.worker, pool_size=1)
            async with database.transaction() as session:
                await (await session.connection()).exec_driver_sql(
                    "UPDATE organizations SET edge_revision = edge_revision + 1 WHERE public_id LIKE '%777'"
                )
            await database.close()
            await measured("pass, 1 in 1,000 changed")
        async with running_edge(folder / "bare") as gateway:
            consumers, credentials = _puts(count)
            seconds = await _bare(gateway, consumers) + await _bare(gateway, credentials)
            rows.append({"what": "bare calls, from empty", "seconds": seconds, "writes": 2 * count})
            del consumers, credentials
            seconds = await _bare(gateway, _gets(count))
            rows.append({"what": "bare calls, nothing to change", "seconds": seconds, "writes": 0})
    rows[0]["of_bare"] = rows[0]["seconds"] / rows[3]["seconds"]
    rows[1]["of_bare"] = rows[1]["seconds"] / rows[4]["seconds"]
    show(rows, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--organizations", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    uvloop.run(run(arguments.organizations, arguments.json))
