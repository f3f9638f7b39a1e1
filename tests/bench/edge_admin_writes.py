"""What writes to the Admin API cost as the number of organizations grows, and what the gateway then holds.

    python -m tests.bench.edge_admin_writes [--organizations 20000] [--parallel 16]

One organization is a consumer and a credential. Each write is answered when it is on the disk.
"""

import argparse
import asyncio
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, TCPConnector
from tests.gateway.harness import Gateway, running_edge
from tests.plugins.accounts import this_month

from farebox_contract import keys


def resident_megabytes(pid: int) -> int:
    """Return the resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


async def write_all(gateway: Gateway, organizations: int, parallel: int) -> list[float]:
    """Write organizations; return how long each PUT took, in the order in which they were answered."""
    took: list[float] = []
    numbers = iter(range(organizations))
    async with ClientSession(connector=TCPConnector(limit=0)) as session:

        async def put(path: str, value: dict[str, Any]) -> None:
            began = time.perf_counter()
            async with session.put(
                f"{gateway.admin}/apisix/admin{path}",
                data=json.dumps(value),
                headers={"X-API-KEY": gateway.admin_key},
            ) as response:
                assert response.status == 201, await response.text()
            took.append(time.perf_counter() - began)

        async def run() -> None:
            for _ in numbers:
                key = keys.issue("live", keys.public_id(), keys.public_id())
                organization = key.name.organization
                terms = {"subscription": organization, "periods": this_month()}
                plugins = {"farebox-auth": {"state": "active"}, "farebox-limit": terms}
                await put("/consumers", {"username": organization, "plugins": plugins})
                credential = {"farebox-auth": {"digest": key.digest, "environment": "live"}}
                await put(f"/consumers/{organization}/credentials/{key.name.key}", {"plugins": credential})

        await asyncio.gather(*(run() for _ in range(parallel)))
    return took


async def run(organizations: int, parallel: int) -> dict[str, Any]:
    """Write, restart, and return the figures."""
    with tempfile.TemporaryDirectory() as name:
        async with running_edge(Path(name)) as gateway:
            empty = resident_megabytes(gateway.pid)
            began = time.perf_counter()
            took = await write_all(gateway, organizations, parallel)
            seconds = time.perf_counter() - began
            full = resident_megabytes(gateway.pid)
        began = time.perf_counter()
        async with running_edge(Path(name)) as gateway:
            restart = time.perf_counter() - began
            again = resident_megabytes(gateway.pid)
    tenth = len(took) // 10
    return {
        "organizations": organizations,
        "parallel": parallel,
        "writes_per_second": round(len(took) / seconds),
        "first_tenth_p50_ms": round(statistics.median(took[:tenth]) * 1000, 2),
        "last_tenth_p50_ms": round(statistics.median(took[-tenth:]) * 1000, 2),
        "last_tenth_p99_ms": round(sorted(took[-tenth:])[int(tenth * 0.99)] * 1000, 2),
        "rss_mb_empty": empty,
        "rss_mb_full": full,
        "rss_mb_after_restart": again,
        "restart_seconds": round(restart, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organizations", type=int, default=20_000)
    parser.add_argument("--parallel", type=int, default=16)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(run(given.organizations, given.parallel))))


if __name__ == "__main__":
    main()
