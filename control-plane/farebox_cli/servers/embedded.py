"""What every embedded server has in common: one folder, one port for life, one child process, one log.

Refuses to know which server it is: how to configure one and when it is ready is each launcher's own matter.
"""

import asyncio
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from farebox_cli.private_files import private_folder
from farebox_cli.servers.errors import FolderInUseError, ServerStartError
from farebox_cli.servers.process import Child, FolderLock, free_port, port_is_free, runs

POLL_SECONDS = 0.005
_PREDECESSOR_SECONDS = 20.0

S = TypeVar("S")


class EmbeddedServer(ABC, Generic[S]):
    """A server on a folder of its own: start, stop, kill and restart it. `S` describes it while it runs."""

    name: ClassVar[str]
    program: ClassVar[str]
    start_seconds: ClassVar[float] = 60.0  # recovery after a crash takes the longest
    stop_steps: ClassVar[tuple[tuple[signal.Signals, float], ...]]
    port_seconds: float = 10.0

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        """`port` None takes the folder's last port if it is free, or any free one."""
        self._folder = folder.absolute()
        self._port = port
        self._lock = FolderLock(self._folder, what=self.name)
        self._child: Child | None = None
        self.running: S | None = None
        self._log = self._folder / f"{self.program}.log"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child is not None and self._child.exit_code is None else None

    async def start(self) -> S:
        """Start the server and return when it answers. Raises ServerStartError, FolderInUseError."""
        try:
            private_folder(self._folder)
        except OSError as error:
            raise ServerStartError(
                f"{self._folder} cannot be made for {self.name}: {error.strerror}. Choose another folder."
            ) from error
        self._lock.acquire()
        try:
            await self._prepare()
            return await self._start()
        except BaseException:
            await self.kill()
            self._lock.release()
            raise

    async def stop(self) -> None:
        """Stop in order, so that everything is on disk, and give the folder back."""
        if self._child is not None:
            await self._child.stop(*self.stop_steps)
        self._lock.release()

    async def kill(self) -> None:
        """SIGKILL, as a crash would. The folder stays ours, so that a restart can follow."""
        if self._child is not None:
            self._child.send(signal.SIGKILL)
            await self._child.exited()

    async def restart(self) -> S:
        """Start anew on the same port, stopping first if it still runs."""
        if self._child is not None:
            await self._child.stop(*self.stop_steps)
        return await self.start()

    async def exited(self) -> int:
        """Wait until the server ends, for whatever reason, and return its exit code."""
        if self._child is None:
            raise ServerStartError(f"{self.name} was not started.")
        return await self._child.exited()

    async def __aenter__(self) -> S:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @abstractmethod
    async def _prepare(self) -> None:
        """Make what the first start needs, and leave nothing of a dead predecessor in the way."""

    @abstractmethod
    def _launch(self, port: int) -> Child:
        """Start the process on `port`."""

    @abstractmethod
    async def _answers(self, child: Child, port: int) -> S | None:
        """The running server once `child`, and no other process, is ready; else None."""

    @abstractmethod
    def _may_try_again(self, said: str) -> bool:
        """Whether the log of a failed start names a passing cause, such as a port that was just taken."""

    async def _start(self) -> S:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.start_seconds
        while True:
            port = await self._choose_port()
            mark = self._log_size()
            self._child = self._launch(port)
            server = await self._ready(self._child, port, deadline)
            if server is not None:
                self.running = server
                self._port = port
                (self._folder / "port").write_text(f"{port}\n")
                return server
            said = self._log_since(mark)
            if loop.time() > deadline or not self._may_try_again(said):
                raise ServerStartError(
                    f"{self.name} did not start. Its log {self._log} ends with:\n{said[-2000:]}"
                )
            await asyncio.sleep(POLL_SECONDS * 10)

    async def _ready(self, child: Child, port: int, deadline: float) -> S | None:
        while asyncio.get_running_loop().time() < deadline:
            server = await self._answers(child, port)
            if server is not None:
                return server
            if await child.exited_within(POLL_SECONDS):
                return None
        await self.kill()
        return None

    async def _choose_port(self) -> int:
        """A fixed port is waited for: while a server is down, a client's own socket may hold its number."""
        if self._port is None:
            recorded = self._folder / "port"
            last = recorded.read_text().strip() if recorded.exists() else ""
            return int(last) if last.isdigit() and port_is_free(int(last)) else free_port()
        deadline = asyncio.get_running_loop().time() + self.port_seconds
        while not port_is_free(self._port):
            if asyncio.get_running_loop().time() > deadline:
                raise ServerStartError(f"Port {self._port} for {self.name} is taken by another program.")
            await asyncio.sleep(POLL_SECONDS * 10)
        return self._port

    async def _outlive_predecessor(self, recorded_pid: Callable[[], int | None], data: Path) -> None:
        """Let a server whose launcher was killed finish its shutdown: two on one folder would destroy it.

        A pid file alone proves nothing; after a crash or a reboot its number may belong to a stranger.
        """
        deadline = asyncio.get_running_loop().time() + _PREDECESSOR_SECONDS
        while (pid := recorded_pid()) is not None and runs(pid, program=self.program, folder=data):
            if asyncio.get_running_loop().time() > deadline:
                raise FolderInUseError(self._folder, pid=pid, what=self.name)
            await asyncio.sleep(POLL_SECONDS * 4)

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _log_since(self, mark: int) -> str:
        with self._log.open("rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")
