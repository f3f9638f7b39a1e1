"""Child processes that never outlive us, and what we must know about processes that we did not start.

Knows Linux and POSIX; refuses to know which program it runs.
"""

import asyncio
import concurrent.futures
import ctypes
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from farebox_cli.servers.errors import FolderInUseError

_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and group a child runs as, where that is not our own."""

    uid: int
    gid: int


class Child:
    """A child process in a session of its own, so that Ctrl-C at the terminal reaches only its parent.

    Start it from the main thread: the kernel ties "die with the parent" to the thread that forked.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._exit: concurrent.futures.Future[int] = concurrent.futures.Future()
        threading.Thread(target=self._reap, name=f"reap-{process.pid}", daemon=True).start()

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str | Path],
        *,
        dies_by: signal.Signals,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        output: int | IO[bytes] | None = None,
        identity: Identity | None = None,
        pass_fds: Sequence[int] = (),
    ) -> "Child":
        """Start `argv`; stdout and stderr both go to `output`. `dies_by` is sent when this process dies."""
        user, group = (identity.uid, identity.gid) if identity is not None else (None, None)
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
            # Set after the change of user, which would clear it again; see prctl(2).
            preexec_fn=_die_with_parent(dies_by),  # noqa: PLW1509 - it makes two system calls and allocates nothing
            user=user,
            group=group,
            extra_groups=[] if identity is not None else None,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        return self._process.stdout

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it, as in `subprocess`."""
        return self._exit.result() if self._exit.done() else None

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal; a process that has already ended is left alone."""
        if self.exit_code is None:
            self._process.send_signal(signal_number)

    async def exited(self) -> int:
        """Wait for the end and return the exit code. Any event loop may wait, any number of times."""
        return await asyncio.shield(asyncio.wrap_future(self._exit))

    async def exited_within(self, seconds: float) -> bool:
        """Whether it has ended after at most `seconds`."""
        try:
            await asyncio.wait_for(self.exited(), seconds)
        except TimeoutError:
            return False
        return True

    async def stop(self, *steps: tuple[signal.Signals, float]) -> int:
        """Send each signal in turn and give it its seconds; the last word is SIGKILL."""
        for signal_number, seconds in steps:
            self.send(signal_number)
            if await self.exited_within(seconds):
                return await self.exited()
        self.send(signal.SIGKILL)
        return await self.exited()

    def _reap(self) -> None:
        self._exit.set_result(self._process.wait())


class FolderLock:
    """The right to run one server in a folder. The kernel gives it back when we die, however we die."""

    def __init__(self, folder: Path, *, what: str) -> None:
        self._folder = folder
        self._what = what
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise FolderInUseError, naming the process that has it."""
        if self._fd is not None:
            return
        fd = os.open(_lock_file(self._folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(fd, 32).strip()
            os.close(fd)
            raise FolderInUseError(
                self._folder, pid=int(text) if text.isdigit() else None, what=self._what
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Give the lock back. The file stays: two processes must never lock two files of one name."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def lock_holder(folder: Path) -> int | None:
    """The process that holds the folder's lock, or None. Asks the kernel: a dead one's file is nothing."""
    try:
        fd = os.open(_lock_file(folder), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(fd, 32).strip()
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(fd)


def _lock_file(folder: Path) -> Path:
    return folder / "lock"


def runs(pid: int, *, program: str, folder: Path) -> bool:
    """Whether process `pid` is alive, is `program` and works in `folder`: no stranger with a reused id."""
    if sys.platform != "linux":
        return _command_of(pid) == program
    try:
        executable = Path(f"/proc/{pid}/exe").readlink()
        at_home = Path(f"/proc/{pid}/cwd").samefile(folder)
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return False  # ended, or another user's: then it cannot be ours
    return executable.name.removesuffix(" (deleted)") == program and at_home


def _command_of(pid: int) -> str | None:
    found = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()).name or None


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listened on a moment ago. For servers that cannot be given port 0.

    Taken from below the range of outgoing connections (32,768 and up on Linux): a number from that range may
    be given to a client's socket while the server restarts, and a client could even connect to itself.
    """
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        if port_is_free(port, host):
            return port


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now. What lingers of closed connections does not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _die_with_parent(signal_number: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.PyDLL(
        None
    )  # loaded before the fork; PyDLL keeps the interpreter lock, so no other thread matters
    parent = os.getpid()

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal_number))
        if os.getppid() != parent:  # it died between fork and prctl: nobody will send the signal
            os._exit(1)

    return arm
