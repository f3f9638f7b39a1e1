"""The supervisor, on real processes that are toys."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.processes import alive, gone, launch_and_wait_for_line, processes_naming

from farebox_cli.servers.process import free_port
from farebox_cli.stack.output import MAX_LOG_BYTES, MemberLog
from farebox_cli.stack.programs import Program, ProgramMember, accepts
from farebox_cli.stack.supervisor import MemberFailedError, Status, Supervisor

_SLEEPS = "import time; print('here', flush=True); time.sleep(600)"
_LISTENS = """
import socket, sys, time
time.sleep(0.05)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(600)
"""
_IGNORES_TERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
_SUPERVISES = """
import asyncio, os, sys
from pathlib import Path
from farebox_cli.stack.output import MemberLog
from farebox_cli.stack.programs import Program, ProgramMember
from farebox_cli.stack.supervisor import Supervisor
async def main():
    argv = (sys.executable, "-c", "import time; time.sleep(600)")
    members = [
        ProgramMember(Program(name, argv, os.environ), MemberLog(Path(sys.argv[1]), name)) for name in "abc"
    ]
    supervisor = Supervisor()
    await supervisor.start(members)
    print(*(member.pid for member in members), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

Make = Callable[..., ProgramMember]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes members that run a line of Python."""

    def made(name: str, code: str, *arguments: str, **more: object) -> ProgramMember:
        program = Program(name, (sys.executable, "-c", code, *arguments), dict(os.environ), **more)  # type: ignore[arg-type]
        return ProgramMember(program, MemberLog(tmp_path, name))

    return made


@asynccontextmanager
async def _supervised(*groups: list[ProgramMember]) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    try:
        for group in groups:
            await supervisor.start(group)
        yield supervisor
    finally:
        await supervisor.stop()


async def test_a_killed_member_comes_back(make: Make) -> None:
    """A member that dies by kill -9 is started again, as another process, and counted."""
    async with _supervised([make("a", _SLEEPS)]) as supervisor:
        old = await supervisor.kill("a")
        new = await supervisor.back("a")
        assert new != old
        assert alive(new)
        assert supervisor.members["a"].restarts == 1


async def test_a_stranger_may_kill_it_too(make: Make) -> None:
    """It makes no difference who kills: `back` takes the process id that is to be gone."""
    async with _supervised([make("a", _SLEEPS)]) as supervisor:
        old = supervisor.members["a"].member.pid
        assert old is not None
        os.kill(old, signal.SIGKILL)
        assert await supervisor.back("a", after=old) != old


async def test_back_means_ready(make: Make) -> None:
    """A member with a probe counts as back only once it answers again."""
    port = free_port()
    async with _supervised([make("a", _LISTENS, str(port), ready=accepts("127.0.0.1", port))]) as supervisor:
        await supervisor.kill("a")
        await supervisor.back("a")
        assert await accepts("127.0.0.1", port)()


async def test_it_is_started_again_each_time(make: Make) -> None:
    """Three deaths in a row are three restarts, with pauses that grow."""
    async with _supervised([make("a", _SLEEPS)]) as supervisor:
        for expected in (1, 2, 3):
            await supervisor.kill("a")
            await supervisor.back("a")
            assert supervisor.members["a"].restarts == expected


async def test_a_member_that_never_gets_ready_fails_with_its_last_words(make: Make) -> None:
    """A program that ends before it is ready is an error that repeats what it said; nothing stays behind."""
    healthy = make("healthy", _SLEEPS)
    broken = make("broken", "print('the port is taken'); raise SystemExit(3)", ready=accepts("127.0.0.1", 1))
    with pytest.raises(MemberFailedError, match=r"broken ended with status 3(.|\n)*the port is taken"):
        async with _supervised([healthy, broken]):
            pytest.fail("it cannot have started")
    assert healthy.pid is None


async def test_stop_is_in_reverse_order_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    """Later groups are stopped before earlier ones, and every process has ended when `stop` returns."""
    record = tmp_path / "record"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    open(sys.argv[1], 'a').write(sys.argv[2]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    members = [make(name, code, str(record), name, ready=_said(tmp_path, name, "ready")) for name in "abc"]
    async with _supervised(*([member] for member in members)) as supervisor:
        pids = [watched.member.pid for watched in supervisor.members.values()]
    assert record.read_text() == "cba"
    assert all(watched.status is Status.STOPPED for watched in supervisor.members.values())
    assert not any(alive(pid) for pid in pids if pid is not None)


async def test_a_member_that_ignores_term_is_killed(make: Make, tmp_path: Path) -> None:
    """SIGTERM first; who does not listen within his seconds is ended by SIGKILL."""
    member = make("deaf", _IGNORES_TERM, stop_seconds=0.1, ready=_said(tmp_path, "deaf", "deaf"))
    async with _supervised([member]):
        pass
    assert await member.exited() == -signal.SIGKILL


async def test_a_stop_during_a_restart_leaves_nothing(make: Make, tmp_path: Path) -> None:
    """Stopping while a member is on its way back does not leave the new process behind."""
    async with _supervised([make("a", _SLEEPS, str(tmp_path))]) as supervisor:
        assert len(processes_naming(str(tmp_path))) == 1
        await supervisor.kill("a")
        await supervisor.back("a")
        await supervisor.kill("a")
    assert processes_naming(str(tmp_path)) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_kill_9_of_the_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    """When the supervisor is killed with -9, the kernel ends every child."""
    process, line = await launch_and_wait_for_line([sys.executable, "-c", _SUPERVISES, str(tmp_path)])
    children = [int(pid) for pid in line.split()]
    assert len(children) == 3
    assert all(alive(pid) for pid in children)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    for pid in children:
        await gone(pid)


async def test_every_line_is_in_the_log_and_on_the_terminal(tmp_path: Path, make: Make) -> None:
    """Long lines, torn lines, bytes that are no text and a last line without an end: all arrive, in order."""
    seen: list[str] = []
    code = (
        "import sys; out = sys.stdout.buffer\n"
        "out.write(b'\\x1b[32mfirst\\x1b[0m\\n' + b'x' * 300_000 + b'\\n\\xff\\n'); out.flush()\n"
        "out.write(b'no end')"
    )
    program = Program("talker", (sys.executable, "-c", code), dict(os.environ))
    log = MemberLog(tmp_path, "talker", echo=lambda _name, line: seen.append(line))
    member = ProgramMember(program, log)
    await member.start()
    await member.exited()
    await member.stop()
    assert seen == ["\x1b[32mfirst\x1b[0m", "x" * 300_000, "�", "no end"]
    logged = (tmp_path / "talker.log").read_bytes()
    assert logged.startswith(b"first\nxxx"), "the terminal shows colours, the file has none"
    assert logged.endswith(b"\n\xff\nno end\n")


async def test_a_terminal_that_is_gone_holds_nobody_up(tmp_path: Path) -> None:
    """When nobody reads our output any more, members go on and the log file still gets everything."""

    def broken(_name: str, _line: str) -> None:
        raise BrokenPipeError

    code = "print('x' * 100_000); print('y' * 100_000)"
    program = Program("talker", (sys.executable, "-c", code), dict(os.environ))
    member = ProgramMember(program, MemberLog(tmp_path, "talker", echo=broken))
    await member.start()
    assert await member.exited() == 0
    await member.stop()
    assert (tmp_path / "talker.log").stat().st_size == 200_002


async def test_a_log_that_cannot_be_written_holds_nobody_up(tmp_path: Path) -> None:
    """No room for the log: the member goes on, and the terminal says what is lost."""
    (tmp_path / "talker.log").mkdir()
    seen: list[str] = []
    program = Program("talker", (sys.executable, "-c", "print('hello')"), dict(os.environ))
    member = ProgramMember(program, MemberLog(tmp_path, "talker", echo=lambda _name, line: seen.append(line)))
    await member.start()
    assert await member.exited() == 0
    await member.stop()
    assert "cannot be written" in seen[0]
    assert seen[1] == "hello"


async def test_a_full_log_makes_room(tmp_path: Path, make: Make) -> None:
    """A log that has reached its size becomes NAME.log.1, and a new one begins."""
    (tmp_path / "a.log").write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    member = make("a", "print('hello')")
    await member.start()
    await member.exited()
    await member.stop()
    assert (tmp_path / "a.log").read_text() == "hello\n"
    assert (tmp_path / "a.log.1").stat().st_size == MAX_LOG_BYTES + 1


def _said(folder: Path, name: str, word: str) -> Callable[[], object]:
    """A probe: the member's log holds the word."""

    async def probe() -> bool:
        log = folder / f"{name}.log"
        return await asyncio.to_thread(lambda: log.exists() and word in log.read_text())

    return probe
