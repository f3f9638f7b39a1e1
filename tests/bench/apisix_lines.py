"""Usage lines of a real Apache APISIX, lost or doubled while it is killed, reloaded, rotated, filled up.

    python -m tests.bench.apisix_lines [--seconds 6] [--rounds 3] [--json FILE] [WHAT …]

What must stand: an APISIX with our plugins and `gateway/apisix/config.yaml`, and the global rule
`{"farebox-meter": {}}`, named as `apisix_gateways` says by FAREBOX_TEST_GATEWAY_ADMIN_URL, `_DATA_URL`,
`_ADMIN_KEY`, `_PID_FILE`, `_USAGE_LOG`; and `_START`, a command that starts it again after all of it was
ended. Signals are sent to its processes, so this program runs as their user. For `full` the usage log
lies in a small file system of its own (`mount -t tmpfs -o size=150m`), which is filled up with another
file; where there is more room that test is left out.

Each test loads a keyed route over 16 connections, every request with a path of its own, and does its harm
in the middle. Then each answer that arrived is looked for in the log: `lost` have no line, `doubled` more
than one. `named` is how many numbers are missing in the streams of lines (`boot`, `seq`): what the
collector reports as a gap. `tail` is what was lost behind a stream's last line, which no number shows.
"""

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from tests.bench import apisix_gateways as gateways
from tests.bench.apisix_gateways import Named, admin
from tests.bench.edge_throughput import upstream
from tests.bench.sync_world import show

from farebox_contract import keys, usage_line

ROUTE: Final = "bench-lines"
CONNECTIONS: Final = 16
MOST_ROOM: Final = 256 * 2**20
LEAST_ROOM: Final = 24 * 2**20


@dataclass(slots=True)
class Seen:
    """What clients saw: the paths of all whole answers, by their status."""

    answered: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0


@dataclass(slots=True)
class Harm:
    """What is done to a gateway in the middle of a test; files of the log other than the current one."""

    gateway: Named
    rotated: list[Path] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """The usage log."""
        return Path(self.gateway.setting("USAGE_LOG"))

    def _master(self) -> int:
        return int(Path(self.gateway.setting("PID_FILE")).read_text())

    async def nothing(self) -> None:
        """Do nothing."""

    async def kill_worker(self) -> None:
        """`kill -9` of every worker; nginx starts new ones."""
        for pid in self.gateway.workers():
            os.kill(pid, signal.SIGKILL)

    async def kill_all(self) -> None:
        """`kill -9` of all of nginx; then start it again."""
        master = self._master()
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        for pid in (master, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
        await self._start(master)

    async def terminate(self) -> None:
        """TERM of nginx, as when a container stops; then start it again."""
        master = self._master()
        os.kill(master, signal.SIGTERM)
        while Path(f"/proc/{master}").exists():
            await asyncio.sleep(0.05)
        await self._start(master)

    async def reload(self) -> None:
        """HUP: new workers, the old ones finish their requests."""
        os.kill(self._master(), signal.SIGHUP)

    async def rotate(self) -> None:
        """Rename the log, let nginx go on with a new one."""
        self.rotated.append(self.log.with_name(f"{self.log.name}.{len(self.rotated)}"))
        self.log.rename(self.rotated[-1])
        await asyncio.sleep(0.5)
        os.kill(self._master(), signal.SIGUSR1)

    async def full(self) -> None:
        """Fill the disk for a second."""
        filler = self.log.with_name("filler")
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 65536)
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0")
        await asyncio.sleep(1)
        filler.unlink()

    async def _start(self, before: int) -> None:
        while Path(f"/proc/{before}").exists() and gateways.title(before):
            await asyncio.sleep(0.05)
        process = await asyncio.create_subprocess_exec(
            *shlex.split(self.gateway.setting("START")), stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait():
            sys.exit("FAREBOX_TEST_GATEWAY_START failed")


TESTS: Final[dict[str, Callable[[Harm], Awaitable[None]]]] = {
    "nothing": Harm.nothing,
    "kill_worker": Harm.kill_worker,
    "kill_all": Harm.kill_all,
    "terminate": Harm.terminate,
    "reload": Harm.reload,
    "rotate": Harm.rotate,
    "full": Harm.full,
}


async def _client(gateway: Named, key: str, name: str, until: float, seen: Seen) -> None:
    loop = asyncio.get_running_loop()
    number = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        while loop.time() < until:
            number += 1
            path = f"/{ROUTE}/{name}/{number}"
            try:
                async with session.get(f"{gateway.data}{path}", headers={"X-API-Key": key}) as response:
                    await response.read()
                    seen.answered[path] = response.status
            except aiohttp.ClientError:
                seen.unanswered += 1
                await asyncio.sleep(0.02)


def _lines(files: list[Path], begins: int, prefix: str) -> tuple[Counter[str], dict[Any, set[int]], int]:
    """Read the lines of a test: how often each path stands there, each stream's numbers, broken lines."""
    paths: Counter[str] = Counter()
    streams: dict[Any, set[int]] = defaultdict(set)
    broken = 0
    for file in files:
        text = file.read_bytes()[begins:]
        begins = 0
        for raw in text.split(b"\n"):
            if not raw:
                continue
            try:
                line = usage_line.decode(raw)
            except usage_line.MalformedLineError:
                broken += 1
                continue
            if line.has_stream:
                streams[line.boot].add(line.seq)
            if line.path.startswith(prefix):
                paths[line.path] += 1
    return paths, streams, broken


async def _test(gateway: Named, what: str, key: str, name: str, seconds: float) -> dict[str, Any]:
    harm, seen = Harm(gateway), Seen()
    space = os.statvfs(harm.log.parent)
    if space.f_bavail * space.f_frsize < LEAST_ROOM:
        sys.exit(f"{harm.log.parent} is nearly full: move the log away first")
    begins = harm.log.stat().st_size
    until = asyncio.get_running_loop().time() + seconds
    clients = [
        asyncio.create_task(_client(gateway, key, f"{name}-{number}", until, seen))
        for number in range(CONNECTIONS)
    ]
    await asyncio.sleep(seconds / 3)
    await TESTS[what](harm)
    await asyncio.gather(*clients)
    await asyncio.sleep(1)
    paths, streams, broken = _lines([*harm.rotated, harm.log], begins, f"/{ROUTE}/{name}-")
    for file in harm.rotated:
        file.unlink()
    lost = sum(1 for path in seen.answered if path not in paths)
    named = sum(max(numbers) - min(numbers) + 1 - len(numbers) for numbers in streams.values())
    return {
        "what": what,
        "answered": len(seen.answered),
        "not_200": sum(status != 200 for status in seen.answered.values()),
        "unanswered": seen.unanswered,
        "lines": paths.total(),
        "streams": len(streams),
        "broken": broken,
        "doubled": sum(count - 1 for count in paths.values()),
        "lost": lost,
        "named": named,
        "tail": max(0, lost - named),
        "load": gateways.machine()["load"],
    }


async def _prepare(gateway: Named, session: aiohttp.ClientSession, port: int, key: keys.IssuedKey) -> None:
    node = {"type": "roundrobin", "nodes": {f"127.0.0.1:{port}": 1}}
    plugins: dict[str, Any] = {"farebox-auth": {}, "farebox-limit": {}}
    route = {"uri": f"/{ROUTE}/*", "plugins": plugins, "upstream": node}
    organization = key.name.organization
    consumer = {"username": organization, "plugins": {"farebox-auth": {"state": "active"}}}
    credential = {"plugins": {"farebox-auth": {"digest": key.digest, "environment": "live"}}}
    await admin(gateway, session, "PUT", f"/routes/{ROUTE}", route)
    await admin(gateway, session, "PUT", "/consumers", consumer)
    await admin(gateway, session, "PUT", f"/consumers/{organization}/credentials/{key.name.key}", credential)
    await gateways.until_status(gateway, f"/{ROUTE}/ready", {"X-API-Key": key.text}, 200, 30)


async def run(given: argparse.Namespace) -> None:
    """Do all wanted tests and print them."""
    gateway = gateways.named()
    rows: list[dict[str, Any]] = [gateways.machine()]
    key = keys.issue("live", keys.public_id(), keys.public_id())
    wanted = given.what or list(TESTS)
    log = Path(gateway.setting("USAGE_LOG"))
    space = os.statvfs(log.parent)
    if "full" in wanted and space.f_blocks * space.f_frsize > MOST_ROOM:
        print("full: left out, the usage log lies in a large file system", file=sys.stderr)
        wanted.remove("full")
    async with upstream() as port, aiohttp.ClientSession() as session:
        await _prepare(gateway, session, port, key)
        try:
            for what in wanted:
                for number in range(given.rounds):
                    name = f"{what}{number}x{os.getpid()}"
                    rows.append(await _test(gateway, what, key.text, name, given.seconds))
                    print(rows[-1], file=sys.stderr, flush=True)
                    await gateways.until_status(
                        gateway, f"/{ROUTE}/between", {"X-API-Key": key.text}, 200, 30
                    )
        finally:
            await admin(gateway, session, "DELETE", f"/routes/{ROUTE}")
            await admin(gateway, session, "DELETE", f"/consumers/{key.name.organization}")
    show(rows, given.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=[*TESTS, []], metavar="WHAT", help=", ".join(TESTS))
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    gateways.need(*gateways.family_needs("FAREBOX_TEST_GATEWAY", "PID_FILE", "USAGE_LOG", "START"))
    asyncio.run(run(arguments))
