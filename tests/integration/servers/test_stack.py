"""`farebox up`, whole: from an empty folder to a gateway that sells, through kills, and down again."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from tests.support.processes import alive, gone
from tests.support.servers import TEST_POSTGRES_SETTINGS

from farebox_cli.errors import Exit
from farebox_cli.servers import embedded_postgres, embedded_redis
from farebox_cli.stack import StackOptions, StackState, read_state, running_stack

_MEMBERS = {"postgres", "redis", "mail", "upstream", "payments", "worker", "collect", "web", "edge"}
_UP = (sys.executable, "-m", "farebox_cli", "up", "--free-ports", "--quiet", "--json")


def _environ(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    return {**outside, "FAREBOX_HOME": str(home), **variables}


async def _launch(home: Path, **variables: str) -> Process:
    return await asyncio.create_subprocess_exec(*_UP, stdout=PIPE, stderr=PIPE, env=_environ(home, variables))


async def _ready(process: Process, home: Path) -> StackState:
    """`up --json` prints its state once everything answers."""
    assert process.stdout is not None
    printed = b""
    while not printed.endswith(b"\n}\n"):
        line = await process.stdout.readline()
        assert line, (await process.communicate())[1].decode()
        printed += line
    state = read_state(home)
    assert state is not None
    assert json.loads(printed)["pid"] == state.pid == process.pid
    return state


@asynccontextmanager
async def _up(home: Path, **variables: str) -> AsyncIterator[tuple[Process, StackState]]:
    process = await _launch(home, **variables)
    try:
        yield process, await _ready(process, home)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _farebox(home: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "farebox_cli",
        *arguments,
        stdout=PIPE,
        stderr=PIPE,
        env=_environ(home, variables),
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def _pids(state: StackState) -> list[int]:
    return [member.pid for member in state.members.values() if member.pid is not None]


async def test_one_command_starts_it_all_and_sigterm_stops_it_all(home: Path) -> None:
    """From an empty folder: every address answers, the sample route is sold, doctor is content, exit 0."""
    async with _up(home) as (process, state):
        assert state.ready
        assert set(state.members) == _MEMBERS
        assert all(alive(pid) for pid in _pids(state))
        where = state.addresses
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{where.web}/healthz") as answer:
                assert answer.status == 200
            async with client.post(f"{where.gateway}/v1/messages/send", json={"to": "a"}) as answer:
                assert answer.status == 401, "the sample route must be sold, to nobody without a key"
        assert (await _farebox(home, "up", "--check"))[0] == Exit.OK
        code, out, _ = await _farebox(home, "doctor", "--json")
        assert code == Exit.OK, out
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
        assert process.returncode == 0, err.decode()
    assert not any(alive(pid) for pid in _pids(state))
    assert read_state(home) is None
    assert (await _farebox(home, "up", "--check"))[0] == Exit.PROBLEM


async def test_a_stop_while_it_starts_leaves_nothing(home: Path) -> None:
    """SIGTERM before it is ready: exit code 0, no process left, and the next start works."""
    process = await _launch(home)
    while not (home / "state.json").exists():
        await asyncio.sleep(0.01)
    state = read_state(home)
    process.terminate()
    await process.communicate()
    assert process.returncode == 0
    assert state is None or not any(alive(pid) for pid in _pids(state))
    assert read_state(home) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_kill_9_of_up_leaves_no_orphan_and_loses_nothing(home: Path) -> None:
    """The kernel ends every child; an immediate new start has the same secrets and the same data."""
    async with _up(home) as (process, first):
        secrets = _secrets(home)
        process.kill()
        await process.wait()
        async with _up(home) as (_, second):
            for pid in _pids(first):
                await gone(pid)
            assert not set(_pids(first)) & set(_pids(second))
            assert _secrets(home) == secrets
            code, out, _ = await _farebox(home, "route", "list", "--json")
            assert code == Exit.OK
            assert "messages" in out


async def test_a_second_up_says_that_one_runs_and_ctrl_c_ends_the_first(home: Path) -> None:
    """The second exits with 1, naming folder and process, and disturbs nothing; SIGINT is an orderly stop."""
    async with _up(home) as (process, state):
        second = await _launch(home)
        _, err = await second.communicate()
        assert second.returncode == Exit.PROBLEM
        assert f"`farebox up` is already running in {home} (process {process.pid})" in err.decode()
        now = read_state(home)
        assert now is not None
        assert _pids(now) == _pids(state)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert process.returncode == 0, err.decode()
    assert not any(alive(pid) for pid in _pids(state))


async def test_every_member_comes_back_after_kill_9(home: Path) -> None:
    """Each one killed in turn, the servers too: each is restarted, and in the end everything answers."""
    options = StackOptions(home=home, ports="free", postgres_settings={"fsync": "off"})
    async with running_stack(options) as stack:
        for name in sorted(_MEMBERS):
            old = await stack.kill(name)
            assert await stack.back(name) != old
            assert stack.restarts(name) == 1
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{stack.addresses.web}/readyz") as answer:
                assert answer.status == 200
            async with client.get(f"{stack.addresses.gateway}/v1/messages/x") as answer:
                assert answer.status == 401


async def test_servers_of_ones_own_are_used_and_none_are_started(home: Path, tmp_path: Path) -> None:
    """With the URLs of a PostgreSQL and a Redis, `up` starts neither, and every command finds them."""
    async with (
        embedded_postgres(tmp_path / "own-pg", settings=TEST_POSTGRES_SETTINGS) as postgres,
        embedded_redis(tmp_path / "own-redis") as redis,
    ):
        code, out, err = await _farebox(home, "migrate", "--superuser-url", postgres.superuser_url, "--json")
        assert code == Exit.OK, err
        variables = {**json.loads(out)["variables"], "FAREBOX_REDIS_URL": redis.url}
        async with _up(home, **variables) as (_, state):
            assert set(state.members) == _MEMBERS - {"postgres", "redis"}
            code, out, _ = await _farebox(home, "route", "list", "--json")
            assert code == Exit.OK
    assert not (home / "postgres").exists()


async def test_a_port_that_was_asked_for_and_is_taken_is_named(home: Path) -> None:
    """Nothing is started, and the text names the variable."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        process = await _launch(home, FAREBOX_WEB_PORT=str(other.getsockname()[1]))
        _, err = await process.communicate()
    assert process.returncode == Exit.PROBLEM
    assert "FAREBOX_WEB_PORT" in err.decode()
    assert not (home / "postgres").exists()


async def test_one_url_of_three_is_refused(home: Path) -> None:
    """A PostgreSQL of one's own needs its three roles; the missing ones are named and nothing is started."""
    process = await _launch(home, FAREBOX_DATABASE_URL="postgresql://farebox_app@127.0.0.1/farebox")
    _, err = await process.communicate()
    assert process.returncode == Exit.PROBLEM
    assert "FAREBOX_DATABASE_WORKER_URL, FAREBOX_DATABASE_OWNER_URL" in err.decode()


async def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where the folder should be: one line, exit 1."""
    (tmp_path / "home").write_text("")
    process = await _launch(tmp_path / "home")
    _, err = await process.communicate()
    assert process.returncode == Exit.PROBLEM
    assert str(tmp_path / "home") in err.decode()
    assert "Traceback" not in err.decode()


def _secrets(home: Path) -> list[str]:
    lines = (home / "env").read_text().splitlines()
    return [line for line in lines if line.startswith(("FAREBOX_TOKEN", "FAREBOX_GATEWAY_ADMIN_KEY"))]
