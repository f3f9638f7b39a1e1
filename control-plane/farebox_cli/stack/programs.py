"""A member of the stack that is a program of ours: a child process, its log, and how we know it is ready."""

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from farebox_cli.servers.process import Child
from farebox_cli.stack.output import MemberLog
from farebox_cli.stack.supervisor import MemberFailedError, how_it_ended

Probe = Callable[[], Awaitable[bool]]
READY_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.02
_LAST_WORDS_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and when it is ready: once `ready` says yes, once it prints a line of JSON that says so
    (`announces`: `{"event": "ready", …}`), or else as soon as it runs.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    ready: Probe | None = None
    announces: bool = False
    stop_seconds: float = 15.0


class ProgramMember:
    """Runs a Program as a child that dies with us. Any of them may be killed at any moment without harm."""

    def __init__(self, program: Program, log: MemberLog) -> None:
        self._program = program
        self._log = log
        self._child: Child | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The member's name."""
        return self._program.name

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child is not None and self._child.exit_code is None else None

    async def start(self) -> None:
        """Start the program and return when it is ready. Raises MemberFailedError with its last words."""
        await self._last_words()
        self._log.announced.clear()
        self._child = Child.spawn(
            self._program.argv, dies_by=signal.SIGKILL, env=self._program.env, output=subprocess.PIPE
        )
        if self._child.stdout is not None:
            self._following = asyncio.create_task(self._log.follow(self._child.stdout))
        try:
            await self._wait_until_ready(self._child)
        except BaseException:
            await self.kill()
            raise

    async def exited(self) -> int:
        """Wait for its end and return the exit code."""
        if self._child is None:
            raise MemberFailedError(f"{self.name} was not started.")
        return await self._child.exited()

    async def stop(self) -> None:
        """SIGTERM, time to finish, then SIGKILL; returns when its last words are in the log."""
        if self._child is not None:
            await self._child.stop((signal.SIGTERM, self._program.stop_seconds))
        await self._last_words()

    async def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            self._child.send(signal.SIGKILL)
            await self._child.exited()

    async def _wait_until_ready(self, child: Child) -> None:
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while child.exit_code is None:
            if await self._is_ready():
                return
            if asyncio.get_running_loop().time() > deadline:
                raise MemberFailedError(
                    f"{self.name} is not ready after {READY_SECONDS:g} s. It said:\n{self._log.last_lines}"
                )
            await child.exited_within(_LOOK_SECONDS)
        await self._last_words()
        raise MemberFailedError(
            f"{self.name} {how_it_ended(child.exit_code)}. It said:\n{self._log.last_lines}"
        )

    async def _is_ready(self) -> bool:
        if self._program.announces:
            return self._log.announced.is_set()
        return self._program.ready is None or await self._program.ready()

    async def _last_words(self) -> None:
        """Wait until all that the ended process said is in the log; a child of its own may hold the pipe."""
        if self._following is not None:
            await asyncio.wait({self._following}, timeout=_LAST_WORDS_SECONDS)


def accepts(host: str, port: int) -> Probe:
    """A probe: somebody listens at this address."""

    async def probe() -> bool:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        return True

    return probe
