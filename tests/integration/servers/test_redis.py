"""The Redis launcher, on real processes."""

import os
import signal
import stat
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from tests.support.processes import gone, launch_and_wait_for_line

from farebox_cli.servers import EmbeddedRedis, FolderInUseError, ServerStartError, embedded_redis

_HOLD_A_SERVER = """
import asyncio, sys
from pathlib import Path
from farebox_cli.servers import embedded_redis
async def main():
    async with embedded_redis(Path(sys.argv[1])) as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_it_answers_with_the_password_and_not_without(tmp_path: Path) -> None:
    """The URL opens the server; a client without the password is turned away."""
    async with embedded_redis(tmp_path / "redis") as server:
        async with Redis.from_url(server.url) as client:
            assert await client.ping()
        port = server.url.rpartition(":")[2].partition("/")[0]
        async with Redis(port=int(port)) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()


async def test_what_was_written_survives_stop_and_start(tmp_path: Path) -> None:
    """The append-only file brings the data back, at the same address."""
    async with embedded_redis(tmp_path / "redis") as first, Redis.from_url(first.url) as client:
        await client.set("kept", "42")
    async with embedded_redis(tmp_path / "redis") as second, Redis.from_url(second.url) as client:
        assert second.url == first.url
        assert await client.get("kept") == b"42"


async def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    """SIGKILL loses no answered write: the operating system has it, only a power cut could take it."""
    server = EmbeddedRedis(tmp_path / "redis")
    before = await server.start()
    async with Redis.from_url(before.url) as client:
        await client.set("kept", "42")
    await server.kill()
    after = await server.restart()
    assert after.url == before.url
    async with Redis.from_url(after.url) as client:
        assert await client.get("kept") == b"42"
    await server.stop()


async def test_without_appendonly_nothing_is_kept(tmp_path: Path) -> None:
    """`appendonly=False` starts empty every time."""
    folder = tmp_path / "redis"
    async with embedded_redis(folder, appendonly=False) as first, Redis.from_url(first.url) as client:
        await client.set("kept", "42")
    async with embedded_redis(folder, appendonly=False) as second, Redis.from_url(second.url) as client:
        assert await client.get("kept") is None


async def test_a_second_start_on_a_live_folder_is_refused(tmp_path: Path) -> None:
    """Two launchers on one folder: the second says that one runs."""
    async with embedded_redis(tmp_path / "redis"):
        with pytest.raises(FolderInUseError, match=f"already running.*process {os.getpid()}"):
            await EmbeddedRedis(tmp_path / "redis").start()


async def test_a_pid_file_that_names_a_stranger_is_stale(tmp_path: Path) -> None:
    """A pid file whose number belongs to another program, even another Redis, does not stop a start."""
    async with embedded_redis(tmp_path / "redis"):
        pass
    async with embedded_redis(tmp_path / "other") as other:
        for stranger in (str(os.getppid()), str(other.pid), ""):
            (tmp_path / "redis" / "data" / "redis.pid").write_text(stranger)
            async with embedded_redis(tmp_path / "redis") as server:
                assert str(server.pid) != stranger


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_it_dies_with_its_launcher_and_the_next_start_waits_for_that(tmp_path: Path) -> None:
    """kill -9 of the launcher leaves no server behind, and an immediate new start on the folder succeeds."""
    launcher, line = await launch_and_wait_for_line(
        [sys.executable, "-c", _HOLD_A_SERVER, str(tmp_path / "redis")]
    )
    launcher.send_signal(signal.SIGKILL)
    await launcher.wait()
    async with embedded_redis(tmp_path / "redis") as server:
        assert server.pid != int(line)
        await gone(int(line))


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port that was asked for and is taken is an error that names it."""
    async with embedded_redis(tmp_path / "a") as first:
        port = int(first.url.rpartition(":")[2].partition("/")[0])
        second = EmbeddedRedis(tmp_path / "b", port=port)
        second.port_seconds = 0.1
        with pytest.raises(ServerStartError, match=f"Port {port} for Redis is taken"):
            await second.start()


async def test_the_password_is_for_the_owners_eyes(tmp_path: Path) -> None:
    """Configuration and password are readable by their owner alone; the command line shows no secret."""
    async with embedded_redis(tmp_path / "redis") as server:
        for name in ("password", "redis.conf"):
            assert stat.S_IMODE((tmp_path / "redis" / name).stat().st_mode) == 0o600
        password = (tmp_path / "redis" / "password").read_text().strip()
        if sys.platform == "linux":
            assert password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
