"""Keeps members running: restarts what dies, with growing pauses, until it is told to stop.

A member is anything that can be started, waited for and stopped. Refuses to know what the members are.
"""

import asyncio
import enum
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from farebox_cli.servers.errors import ServerStartError

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 10.0
STEADY_SECONDS: Final = 10.0


class MemberFailedError(Exception):
    """A member did not start; the text holds what it said."""


class Member(Protocol):
    """What the supervisor needs of a program or server. `start` returns when it is ready for work."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    async def start(self) -> object: ...
    async def exited(self) -> int: ...
    async def stop(self) -> None: ...
    async def kill(self) -> None: ...


class Status(enum.StrEnum):
    """Where a member is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(slots=True)
class Watched:
    """A member and what became of it so far."""

    member: Member
    status: Status = Status.STARTING
    restarts: int = 0
    watch: asyncio.Task[None] | None = field(default=None, repr=False)


class Supervisor:
    """Members in groups: later groups are started after, and stopped before, earlier ones."""

    def __init__(
        self, *, say: Callable[[str], None] = lambda _text: None, changed: Callable[[], None] = lambda: None
    ) -> None:
        """`say` receives one line for each death and return; `changed` is called after every change."""
        self._say = say
        self._changed = changed
        self._groups: list[list[Watched]] = []
        self._news = asyncio.Condition()
        self._last_killed: dict[str, int | None] = {}

    @property
    def members(self) -> dict[str, Watched]:
        """Every member by name, in the order of their start."""
        return {watched.member.name: watched for group in self._groups for watched in group}

    async def start(self, members: Iterable[Member]) -> None:
        """Start a group, all at once, and watch it. Raises MemberFailedError, ServerStartError."""
        group = [Watched(member) for member in members]
        self._groups.append(group)
        await together(self._first_start(watched) for watched in group)

    async def stop(self) -> None:
        """Stop every member in order, the last group first; members that never started are passed over."""
        watchers = [watched.watch for watched in self.members.values() if watched.watch is not None]
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        for group in reversed(self._groups):
            await together(self._stop(watched) for watched in group)

    async def kill(self, name: str) -> int:
        """SIGKILL the member, as a crash would, and return the process id that it had."""
        member = self.members[name].member
        pid = member.pid
        if pid is None:
            raise MemberFailedError(f"{name} is not running, so it cannot be killed.")
        self._last_killed[name] = pid
        await member.kill()
        return pid

    async def back(self, name: str, *, after: int | None = None) -> int:
        """Wait until the member runs and is ready as another process than `after`; return its process id.

        `after` defaults to the process that `kill` killed last.
        """
        old = after if after is not None else self._last_killed.get(name)
        watched = self.members[name]
        async with self._news:
            while True:
                pid = watched.member.pid
                if watched.status is Status.RUNNING and pid is not None and pid != old:
                    return pid
                await self._news.wait()

    async def _first_start(self, watched: Watched) -> None:
        await watched.member.start()
        await self._set(watched, Status.RUNNING)
        watched.watch = asyncio.create_task(self._watch(watched), name=f"watch {watched.member.name}")

    async def _watch(self, watched: Watched) -> None:
        member, pause = watched.member, FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            code = await member.exited()
            watched.restarts += 1
            await self._set(watched, Status.RESTARTING)
            pause = FIRST_PAUSE_SECONDS if loop.time() - since > STEADY_SECONDS else pause
            self._say(f"{member.name} {how_it_ended(code)}; it is started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            try:
                await member.start()
            except (MemberFailedError, ServerStartError, OSError) as error:
                self._say(f"{member.name} did not start: {error}")
                continue
            await self._set(watched, Status.RUNNING)
            self._say(f"{member.name} is back (process {member.pid})")

    async def _stop(self, watched: Watched) -> None:
        await watched.member.stop()
        await self._set(watched, Status.STOPPED)

    async def _set(self, watched: Watched, status: Status) -> None:
        async with self._news:
            watched.status = status
            self._changed()
            self._news.notify_all()


def how_it_ended(exit_code: int) -> str:
    """An exit code in words: a status, or the signal that ended the process."""
    if exit_code >= 0:
        return f"ended with status {exit_code}"
    try:
        return f"was ended by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was ended by signal {-exit_code}"


async def together(work: Iterable[Awaitable[None]]) -> None:
    """Do everything at once, wait for all of it, and only then raise the first failure."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
