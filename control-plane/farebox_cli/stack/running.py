"""Starts the stack in the right order, keeps it running, and takes it down in the reverse order."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from farebox.sandbox.keys import kept_or_made
from farebox_cli import environment
from farebox_cli.private_files import private_folder
from farebox_cli.servers.embedded import EmbeddedServer
from farebox_cli.servers.errors import ServerStartError
from farebox_cli.servers.postgres import EmbeddedPostgres
from farebox_cli.servers.process import FolderLock, free_port, port_is_free
from farebox_cli.servers.redis import EmbeddedRedis
from farebox_cli.stack import first_steps
from farebox_cli.stack.configuration import (
    DATABASE,
    HOST,
    Addresses,
    Ports,
    Secrets,
    StackOptions,
    addresses,
    choose_ports,
    for_the_edge,
    for_the_upstream,
    payment_variables,
    variables,
)
from farebox_cli.stack.output import Echo, MemberLog, silent
from farebox_cli.stack.programs import Program, ProgramMember, accepts
from farebox_cli.stack.state import MemberState, StackState, remove_state, write_state
from farebox_cli.stack.supervisor import Supervisor, together

STRIPE_WEBHOOK_PATH: Final = "/api/v1/webhooks/stripe"
PAYSTACK_WEBHOOK_PATH: Final = "/api/v1/webhooks/paystack"
_FAREBOX: Final = (sys.executable, "-P", "-m", "farebox_cli")


@dataclass(frozen=True, slots=True)
class Stack:
    """A running installation. `variables` are its settings, secrets included."""

    addresses: Addresses
    variables: Mapping[str, str]
    supervisor: Supervisor

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which a `farebox` command works on this installation."""
        return {**_surroundings(), **self.variables}

    def pid(self, name: str) -> int | None:
        """The member's process id while it runs."""
        return self.supervisor.members[name].member.pid

    def restarts(self, name: str) -> int:
        """How often the member has been started again."""
        return self.supervisor.members[name].restarts

    async def kill(self, name: str) -> int:
        """SIGKILL a member and return the process id that it had.

        Members: postgres, redis, mail, upstream, payments, worker, collect, web, edge.
        """
        return await self.supervisor.kill(name)

    async def back(self, name: str, *, after: int | None = None) -> int:
        """Wait until the member runs again, ready, as another process than `after`; return its process id."""
        return await self.supervisor.back(name, after=after)


@asynccontextmanager
async def running_stack(
    options: StackOptions, *, echo: Echo = silent, say: Callable[[str], None] = lambda _text: None
) -> AsyncIterator[Stack]:
    """Everything, for the length of the block: from an empty folder to answering addresses, and down again.

    `echo` gets each line that a program prints, `say` what the stack itself has to tell. Raises
    ConfigurationError, FolderInUseError, ServerStartError, MemberFailedError.
    """
    options.check()
    home = options.home.absolute()
    try:
        for folder in (home, home / "logs", home / "usage", home / "mail"):
            private_folder(folder)
    except OSError as error:
        raise ServerStartError(f"{home} cannot be made: {error.strerror}. Set FAREBOX_HOME.") from error
    lock = FolderLock(home, what="`farebox up`")
    lock.acquire()
    start = _Start(options, home, echo=echo, say=say)
    try:
        yield await start.everything()
    finally:
        await start.supervisor.stop()
        remove_state(home)
        lock.release()


class _Start:
    """One start of one installation; lives as long as the stack runs, to write its state."""

    def __init__(self, options: StackOptions, home: Path, *, echo: Echo, say: Callable[[str], None]) -> None:
        self._options = options
        self._home = home
        self._echo = echo
        self._say = say
        self._ports: Ports = choose_ports(options, is_free=port_is_free, any_free=free_port, say=say)
        self._where = addresses(home, self._ports)
        self._ready = False
        self._started_at = first_steps.now()
        self.supervisor = Supervisor(say=say, changed=self._write_state)

    async def everything(self) -> Stack:
        """Servers first, then stand-ins for the world, then what works on both, then what people call."""
        recorded = environment.read(environment.env_file(self._home))
        kept = Secrets.kept_or_new(recorded, first_steps.ROLE_VARIABLES)
        services = await self._servers(kept)
        paying = payment_variables(self._options, self._where, asdict(kept_or_made(self._payments_folder)))
        settings = variables(self._options, self._where, self._ports, kept, services={**services, **paying})
        given = self._options.variables
        chosen = {name: value for name, value in settings.items() if name not in given}
        environment.write(environment.env_file(self._home), chosen, given)
        migration = first_steps.migrate(settings["FAREBOX_DATABASE_OWNER_URL"])
        await together([self._programs(settings, ("mail", "upstream", "payments")), migration])
        # Stopped from the right: who writes to the gateway before it, who reads its log after it.
        await self._programs(settings, ("collect",), ("edge",), ("worker", "web"))
        await self._until_it_works(settings)
        self._ready = True
        self._write_state()
        return Stack(self._where, settings, self.supervisor)

    async def _until_it_works(self, settings: Mapping[str, str]) -> None:
        """Running is not working: wait until the node is metered and the sample route can be called.

        What does not come about is said, and does not stop the rest: `farebox doctor` can look into it.
        """
        worker_url = settings["FAREBOX_DATABASE_WORKER_URL"]
        if self._options.demo:
            upstream = f"{HOST}:{self._ports.upstream}"
            await first_steps.sell_the_sample_api(worker_url, upstream=upstream)
            if not await first_steps.until_sold(self._where.gateway):
                self._say("The gateway does not know the sample route yet; `farebox doctor` says why.")
        node = settings["FAREBOX_NODE"]
        if not await first_steps.until_metered(worker_url, node=node, since=self._started_at):
            self._say(f"The usage log of node {node} is not read yet; `farebox doctor` says why.")

    async def _servers(self, kept: Secrets) -> dict[str, str]:
        """Start PostgreSQL and Redis unless others run them; return the URLs of those that we started."""
        postgres = EmbeddedPostgres(self._home / "postgres", settings=self._options.postgres_settings)
        redis = EmbeddedRedis(self._home / "redis")
        members = [
            _ServerMember(name, server)
            for name, server, external in (
                ("postgres", postgres, self._options.external_database),
                ("redis", redis, self._options.external_redis),
            )
            if not external
        ]
        await self.supervisor.start(members)
        urls: dict[str, str] = {}
        if postgres.running is not None:
            urls |= await first_steps.database_urls(
                postgres.running.superuser_url, database=DATABASE, passwords=kept.database
            )
        if redis.running is not None:
            urls["FAREBOX_REDIS_URL"] = redis.running.url
        return urls

    async def _programs(self, settings: Mapping[str, str], *groups: tuple[str, ...]) -> None:
        """Start all of these at once; they are stopped group by group, the last group first."""
        logs = self._home / "logs"
        known = {program.name: program for program in self._every_program(settings)}
        await together(
            self.supervisor.start(
                ProgramMember(known[name], MemberLog(logs, name, echo=self._echo)) for name in group
            )
            for group in groups
        )

    def _every_program(self, settings: Mapping[str, str]) -> tuple[Program, ...]:
        outside = {**_surroundings(), "PYTHONUNBUFFERED": "1", "FAREBOX_LOG_FORMAT": self._options.log_format}
        inside, at_the_edge = {**outside, **settings}, {**outside, **for_the_edge(settings)}
        smtp, upstream = self._ports.smtp, self._ports.upstream
        mail = (*_FAREBOX, "sandbox", "mail", f"--port={smtp}", f"--folder={self._where.mail_folder}")
        sample = (*_FAREBOX, "sandbox", "upstream", f"--port={upstream}")
        payments = (
            *_FAREBOX,
            "sandbox",
            "payments",
            f"--port={self._ports.payments}",
            f"--folder={self._payments_folder}",
            f"--stripe-webhook-url={self._where.web}{STRIPE_WEBHOOK_PATH}",
            f"--paystack-webhook-url={self._where.web}{PAYSTACK_WEBHOOK_PATH}",
        )
        return (
            Program("payments", payments, outside, ready=accepts(HOST, self._ports.payments)),
            Program("mail", mail, outside, ready=accepts(HOST, smtp)),
            Program(
                "upstream", sample, {**outside, **for_the_upstream(settings)}, ready=accepts(HOST, upstream)
            ),
            Program("collect", (*_FAREBOX, "collect"), inside),
            Program("edge", (*_FAREBOX, "edge"), at_the_edge, announces=True, stop_seconds=40.0),
            Program("worker", (*_FAREBOX, "worker"), inside, announces=True),
            Program("web", (*_FAREBOX, "web"), inside, announces=True),
        )

    @property
    def _payments_folder(self) -> Path:
        return self._home / "payments-sandbox"

    def _write_state(self) -> None:
        members = {
            name: MemberState(pid=watched.member.pid, status=watched.status.value, restarts=watched.restarts)
            for name, watched in self.supervisor.members.items()
        }
        state = StackState(
            pid=os.getpid(),
            ready=self._ready,
            started_at=self._started_at.isoformat(),
            addresses=self._where,
            members=members,
        )
        try:
            write_state(self._home, state)
        except OSError as error:  # a full disk must not keep a dead member down
            self._say(f"state.json cannot be written: {error.strerror}")


class _ServerMember:
    """PostgreSQL or Redis as a member."""

    def __init__(self, name: str, server: EmbeddedServer[Any]) -> None:
        self.name = name
        self._server = server
        self.start = server.start
        self.exited = server.exited
        self.stop = server.stop
        self.kill = server.kill

    @property
    def pid(self) -> int | None:
        return self._server.pid


def _surroundings() -> dict[str, str]:
    """What programs inherit of ours: everything but settings, which are handed on one by one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
