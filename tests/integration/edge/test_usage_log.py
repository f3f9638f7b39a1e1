"""No answered request without its line: under kills, full disks and rotations."""

import asyncio
import json
import random
import resource
import signal
from pathlib import Path

import pytest
from aiohttp import ClientSession
from tests.gateway.harness import Admin, Gateway, Upstream, running_edge, start_edge
from tests.plugins.accounts import Account, open_account

from farebox_contract import usage_line


async def _hammer(gateway: Gateway, path: str, key: str, counted: list[int]) -> None:
    """Send requests on one connection until it breaks; count every answer that came whole."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.data_port)
        request = f"GET {path} HTTP/1.1\r\nHost: h\r\nX-API-Key: {key}\r\n\r\n".encode()
        while True:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            counted[0] += 1
    except (OSError, asyncio.IncompleteReadError):
        return


@pytest.mark.parametrize("seed", range(3))
async def test_every_answer_has_its_line_after_a_kill(
    tmp_path: Path, client: ClientSession, upstream: Upstream, seed: int
) -> None:
    """kill -9 at a random moment under load: no answer without a line, no line torn, none doubled."""
    gateway = await start_edge(tmp_path)
    account = await open_account(Admin(gateway, client), upstream)
    before = len(gateway.lines())
    counted = [0]
    path = f"/{account.route}/x"
    hammers = [asyncio.create_task(_hammer(gateway, path, account.key.text, counted)) for _ in range(24)]
    goal = random.Random(seed).randrange(200, 900)
    while counted[0] < goal:
        await asyncio.sleep(0.001)
    gateway.send(signal.SIGKILL)
    await asyncio.gather(*hammers)
    await gateway.stop(signal.SIGKILL)
    raw = gateway.log_path.read_bytes().split(b"\n")
    lines = [usage_line.decode(line) for line in raw[:-1]]
    assert raw[-1] == b""
    assert counted[0] <= len(lines) - before <= counted[0] + 24
    assert [line.seq for line in lines] == list(range(1, len(lines) + 1))


async def _serve(gateway: Gateway, client: ClientSession, upstream: Upstream) -> Account:
    return await open_account(Admin(gateway, client), upstream)


async def test_a_full_disk_loses_no_line(tmp_path: Path, client: ClientSession, upstream: Upstream) -> None:
    """When the log cannot grow, lines wait in memory; when it can again, all are there, in order, whole."""
    async with running_edge(tmp_path) as gateway:
        account = await _serve(gateway, client, upstream)
        size = gateway.log_path.stat().st_size
        unlimited = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        # A limit in the middle of a line also makes the write a short one.
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (max(size + 100, 160_000), unlimited[1]))
        padding = {"User-Agent": "x" * 256}
        for _ in range(160_000 // 600 + 60):
            assert (await account.get(headers=padding)).status == 200
        status = await _status(gateway, client)
        assert status["lines_waiting"] > 0
        assert status["lines_lost"] == 0
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, unlimited)
        while (await _status(gateway, client))["lines_waiting"]:
            await asyncio.sleep(0.01)
        total = (await _status(gateway, client))["seq"]
        assert [line["seq"] for line in gateway.lines()] == list(range(1, total + 1))


async def _status(gateway: Gateway, client: ClientSession) -> dict[str, int]:
    async with client.get(f"{gateway.admin}/farebox/status") as response:
        found: dict[str, int] = await response.json()
        return found


async def test_beyond_memory_a_loss_is_a_gap(
    tmp_path: Path, client: ClientSession, upstream: Upstream
) -> None:
    """Past the bound lines are dropped, their numbers used up: the stream shows exactly which are missing."""
    async with running_edge(tmp_path, LOG_BACKLOG_BYTES="3000") as gateway:
        account = await _serve(gateway, client, upstream)
        unlimited = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        for number in range(2000):
            await account.get(headers={"User-Agent": "x" * 256})
            if gateway.log_path.stat().st_size > 70_000 and number:
                break
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (max(65_536, 70_000), unlimited[1]))
        for _ in range(40):
            assert (await account.get(headers={"User-Agent": "x" * 256})).status == 200
        lost = (await _status(gateway, client))["lines_lost"]
        assert lost > 0
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, unlimited)
        while (await _status(gateway, client))["lines_waiting"]:
            await asyncio.sleep(0.01)
        await account.get()
        numbers = [line["seq"] for line in gateway.lines()]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] - len(numbers) == lost


async def test_rotation(tmp_path: Path, client: ClientSession, upstream: Upstream) -> None:
    """Rename and USR1 under load: every line is in one of the files, the stream has no gap."""
    async with running_edge(tmp_path) as gateway:
        account = await _serve(gateway, client, upstream)
        counted = [0]
        path = f"/{account.route}/x"
        hammers = [asyncio.create_task(_hammer(gateway, path, account.key.text, counted)) for _ in range(4)]
        rotated = []
        for number in range(4):
            goal = counted[0] + 50
            while counted[0] < goal:
                await asyncio.sleep(0.001)
            target = tmp_path / f"usage.log.{number}"
            gateway.log_path.rename(target)
            rotated.append(target)
            gateway.send(signal.SIGUSR1)
            while not gateway.log_path.exists():
                await asyncio.sleep(0.001)
        for hammer in hammers:
            hammer.cancel()
        await asyncio.gather(*hammers, return_exceptions=True)
    numbers = [
        json.loads(line)["seq"]
        for file in (*rotated, gateway.log_path)
        for line in file.read_bytes().splitlines()
    ]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_torn_end_does_not_swallow_the_next_line(
    tmp_path: Path, client: ClientSession, upstream: Upstream
) -> None:
    """A fragment that an earlier process left is closed with a newline before our first line."""
    log = tmp_path / "usage.log"
    log.write_bytes(b'{"v":1,"ts":17')
    async with running_edge(tmp_path) as gateway:
        async with client.get(f"{gateway.data}/nothing") as response:
            assert response.status == 404
        first, second, rest = log.read_bytes().split(b"\n")
    assert first == b'{"v":1,"ts":17'
    assert usage_line.decode(second).seq == 1
    assert rest == b""


async def test_each_start_is_a_new_stream(tmp_path: Path, client: ClientSession) -> None:
    """Every start has another `boot` and counts from 1; the status endpoint tells both."""
    boots = set()
    for _ in range(3):
        async with running_edge(tmp_path) as gateway:
            async with client.get(f"{gateway.data}/nothing"):
                pass
            status = await _status(gateway, client)
            assert status["seq"] == 1
            boots.add(status["boot"])
    assert len(boots) == 3
    assert [json.loads(line)["seq"] for line in (tmp_path / "usage.log").read_bytes().splitlines()] == [1] * 3


async def test_stopping_finishes_what_is_in_flight(
    tmp_path: Path, client: ClientSession, upstream: Upstream
) -> None:
    """TERM lets running requests end with their answers and lines, takes no new ones, and exits 0."""
    gateway = await start_edge(tmp_path)
    account = await _serve(gateway, client, upstream)
    base = account.url.removesuffix("/x")
    running = asyncio.create_task(account.get(url=f"{base}/gated/last"))
    await upstream.gate("last-arrived").wait()
    gateway.send(signal.SIGTERM)
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.data_port)
            writer.close()
        except OSError:
            break
        await asyncio.sleep(0.005)
    upstream.gate("last").set()
    answer = await running
    assert answer.status == 200
    assert await gateway.stop() == 0
    assert gateway.lines()[-1]["path"].endswith("/gated/last")
