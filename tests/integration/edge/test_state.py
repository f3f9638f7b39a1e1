"""What the Admin API answered survives restarts and kills, and what it could not keep it did not answer."""

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

from aiohttp import ClientSession
from tests.gateway.harness import Admin, Upstream, running_edge, start_edge
from tests.plugins.accounts import open_account


async def test_everything_is_there_after_a_kill(
    tmp_path: Path, client: ClientSession, upstream: Upstream
) -> None:
    """Routes, consumers and keys work at once after kill -9, revisions go on where they were."""
    first = await start_edge(tmp_path)
    account = await open_account(Admin(first, client), upstream)
    before = [(await account.admin.get(f"/{kind}")).text for kind in ("routes", "consumers", "upstreams")]
    await first.stop(signal.SIGKILL)
    async with running_edge(tmp_path) as second:
        account.admin.gateway = second
        after = [(await account.admin.get(f"/{kind}")).text for kind in ("routes", "consumers", "upstreams")]
        assert after == before
        assert (await account.get()).status == 200
        await account.put_consumer(state="suspended")
        assert (await account.get()).status == 403


async def test_every_answered_write_survives_a_kill_under_load(tmp_path: Path, client: ClientSession) -> None:
    """Killed in the middle of many writes: each that was answered 201 is there, each is whole."""
    gateway = await start_edge(tmp_path)
    admin = Admin(gateway, client)
    answered: list[str] = []

    async def write(worker: int) -> None:
        for number in range(100_000):
            name = f"c{worker}x{number}"
            try:
                answer = await admin.call("PUT", "/consumers", {"username": name, "desc": "d" * 200})
            except OSError:
                return
            assert answer.status == 201
            answered.append(name)
            if len(answered) == 400:
                gateway.send(signal.SIGKILL)

    await asyncio.gather(*(write(worker) for worker in range(8)))
    await gateway.stop(signal.SIGKILL)
    async with running_edge(tmp_path) as again:
        stored = (await Admin(again, client).get("/consumers")).json
    names = {one["value"]["username"] for one in stored["list"]}
    assert names >= set(answered)
    assert len(names) <= len(answered) + 8


async def test_a_torn_end_is_dropped(tmp_path: Path, client: ClientSession) -> None:
    """Half a record at the journal's end, as a power cut leaves it, costs nothing that was answered."""
    async with running_edge(tmp_path) as gateway:
        await Admin(gateway, client).put("/consumers", {"username": "acme"})
    (journal,) = (tmp_path / "state").glob("journal.*")
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'deadbeef {"r":9,"c":[["cons')
    async with running_edge(tmp_path) as gateway:
        admin = Admin(gateway, client)
        assert (await admin.get("/consumers/acme")).status == 200
        await admin.put("/consumers", {"username": "beta"})
    async with running_edge(tmp_path) as gateway:
        assert (await Admin(gateway, client).get("/consumers")).json["total"] == 2


async def test_damage_is_told(tmp_path: Path, client: ClientSession) -> None:
    """A record changed in the middle is not skipped: the gateway says where and what to do."""
    async with running_edge(tmp_path) as gateway:
        for name in ("acme", "beta"):
            await Admin(gateway, client).put("/consumers", {"username": name})
    (journal,) = (tmp_path / "state").glob("journal.*")
    journal.write_bytes(journal.read_bytes().replace(b"acme", b"acne", 1))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "farebox_gateway.edge",
        env={
            **os.environ,
            "FAREBOX_EDGE_ADMIN_KEY": "k",
            "FAREBOX_EDGE_STATE_FOLDER": str(tmp_path / "state"),
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"is damaged at byte 0" in said
    assert b"farebox sync all" in said


async def test_a_second_gateway_on_the_same_state_is_refused(tmp_path: Path) -> None:
    """Two processes by mistake on one folder: the second says so and ends."""
    async with running_edge(tmp_path):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "farebox_gateway.edge",
            env={
                **os.environ,
                "FAREBOX_EDGE_ADMIN_KEY": "k",
                "FAREBOX_EDGE_STATE_FOLDER": str(tmp_path / "state"),
            },
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"another gateway runs on" in said


async def test_a_full_disk_refuses_whole(tmp_path: Path, client: ClientSession) -> None:
    """When the journal cannot grow a write is 503 and undone, reads and traffic go on, room heals it."""
    async with running_edge(tmp_path, LOG_PATH="") as gateway:
        admin = Admin(gateway, client)
        await admin.put("/consumers", {"username": "acme"})
        size = sum(path.stat().st_size for path in (tmp_path / "state").glob("journal.*"))
        unlimited = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (size + 100, unlimited[1]))
        for name in ("beta", "acme"):
            refused = await admin.call("PUT", "/consumers", {"username": name, "desc": "d" * 250})
            assert refused.status == 503
        assert (await admin.get("/consumers/beta")).status == 404
        assert "desc" not in (await admin.get("/consumers/acme")).value
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, unlimited)
        await admin.put("/consumers", {"username": "beta"})
    async with running_edge(tmp_path) as gateway:
        assert (await Admin(gateway, client).get("/consumers")).json["total"] == 2


async def test_compaction_keeps_everything(tmp_path: Path, client: ClientSession) -> None:
    """Rewriting one object many times does not grow the folder without end, and loses nothing."""
    async with running_edge(tmp_path, COMPACT_BYTES="65536") as gateway:
        admin = Admin(gateway, client)
        for number in range(40):
            await admin.put("/consumers", {"username": f"c{number}"})

        async def rewrite(worker: int) -> None:
            for number in range(150):
                await admin.put("/consumers", {"username": f"w{worker}", "desc": f"{number}" + "d" * 240})

        await asyncio.gather(*(rewrite(worker) for worker in range(8)))
    files = list((tmp_path / "state").glob("*.0*"))
    assert sum(path.stat().st_size for path in files) < 4 * 65_536
    async with running_edge(tmp_path) as gateway:
        stored = (await Admin(gateway, client).get("/consumers")).json
    assert stored["total"] == 48
    last = {one["value"]["username"]: one["value"].get("desc", "") for one in stored["list"]}
    assert all(last[f"w{worker}"].startswith("149") for worker in range(8))


async def test_bad_settings_are_named(tmp_path: Path) -> None:
    """A missing key, an unknown variable and a value that makes no sense each end the start with a remedy."""
    cases: list[tuple[dict[str, str], bytes]] = [
        ({}, b"FAREBOX_EDGE_ADMIN_KEY is not set"),
        (
            {"FAREBOX_EDGE_ADMIN_KEY": "k", "FAREBOX_EDGE_DATA_PROT": "1"},
            b"FAREBOX_EDGE_DATA_PROT is no setting",
        ),
        ({"FAREBOX_EDGE_ADMIN_KEY": "k", "FAREBOX_EDGE_DATA_PORT": "x"}, b"FAREBOX_EDGE_DATA_PORT is 'x'"),
        ({"FAREBOX_EDGE_ADMIN_KEY": "k", "FAREBOX_EDGE_COUNTERS": "redis"}, b"needs FAREBOX_EDGE_REDIS_URL"),
    ]
    for environment, words in cases:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "farebox_gateway.edge",
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **environment},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        assert process.returncode == 1
        assert words in said
