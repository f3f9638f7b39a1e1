"""Starts a real PostgreSQL in one folder, for `farebox up`, the demo and the tests.

Refuses to know databases, roles or schemas: it hands out a superuser's URL and nothing else.

    folder/lock               one launcher at a time
    folder/password           of the superuser, mode 0600
    folder/port               of the last start, tried first at the next
    folder/postgres.log
    folder/cluster/data       PGDATA; as root, `cluster` belongs to nobody
"""

import os
import pwd
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from farebox_cli.private_files import secret_in, write_private
from farebox_cli.servers.binaries import PostgresPrograms, postgres_programs, reachable_by_others
from farebox_cli.servers.embedded import EmbeddedServer
from farebox_cli.servers.errors import ServerStartError
from farebox_cli.servers.process import Child, Identity

_HOST = "127.0.0.1"
# PostgreSQL reads much from the environment; what the caller's shell has set is not meant for our server.
_ENVIRONMENT = MappingProxyType({"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath})
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. `superuser_url` names the maintenance database `postgres`."""

    host: str
    port: int
    superuser_url: str
    pid: int


class EmbeddedPostgres(EmbeddedServer[PostgresServer]):
    """One PostgreSQL server on one folder. A kill is a crash: the next start recovers."""

    name: ClassVar[str] = "PostgreSQL"
    program: ClassVar[str] = "postgres"
    stop_steps = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))  # fast shutdown, then immediate: pg_ctl(1)

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] = _NO_SETTINGS, port: int | None = None
    ) -> None:
        """`settings` are those of postgresql.conf; `port` None takes the folder's last port or a free one."""
        super().__init__(folder, port=port)
        self._settings = dict(settings)
        self._identity = _unprivileged()
        self._cluster = self._folder / "cluster"
        self._data = self._cluster / "data"

    async def _prepare(self) -> None:
        await self._outlive_predecessor(self._recorded_pid, self._data)
        self._remove_stale_pid_file()
        if not self._data.exists():
            await self._create_cluster()
        self._check_cluster()

    def _remove_stale_pid_file(self) -> None:
        """PostgreSQL itself trusts the file as soon as any process of our user has its number."""
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _check_cluster(self) -> None:
        if not (self._folder / "password").exists():
            raise ServerStartError(
                f"{self._folder / 'password'} is missing, so the database beside it cannot be opened. "
                "Put the file back, or remove the folder to start with an empty database."
            )
        has = (self._data / "PG_VERSION").read_text().strip()
        wants = self._programs().version
        if has != wants:
            raise ServerStartError(
                f"{self._data} was made by PostgreSQL {has}; this installation has {wants}. "
                "Dump it with the old version and restore it here, or use another folder."
            )

    def _launch(self, port: int) -> Child:
        settings = {"unix_socket_directories": "", **self._settings}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self._as_seen() as (place, fds):
            return self._spawn(
                [self._programs().postgres, "-D", f"{place}/data", "-h", _HOST, "-p", str(port), *options],
                dies_by=signal.SIGINT,
                fds=fds,
            )

    async def _answers(self, child: Child, port: int) -> PostgresServer | None:
        lines = self._pid_file()
        if len(lines) < 8 or lines[0] != str(child.pid) or lines[7].strip() != "ready":
            return None
        password = secret_in(self._folder / "password")
        url = f"postgresql://postgres:{password}@{_HOST}:{port}/postgres"
        return PostgresServer(host=_HOST, port=port, superuser_url=url, pid=child.pid)

    def _may_try_again(self, said: str) -> bool:
        # The port was taken since we looked, or backends of a killed predecessor are not gone yet.
        return "could not bind" in said or "still in use" in said

    async def _create_cluster(self) -> None:
        """Run initdb into a draft and rename it, so that an interrupted one never looks like a cluster."""
        draft, password_file = self._clear_the_ground()
        mark = self._log_size()
        with self._as_seen() as (place, fds):
            self._child = self._spawn(
                [
                    self._programs().initdb,
                    f"--pgdata={place}/{draft.name}",
                    f"--pwfile={place}/{password_file.name}",
                    "--username=postgres",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--locale-provider=builtin",  # text sorts alike on every machine
                    "--builtin-locale=C.UTF-8",
                ],
                dies_by=signal.SIGKILL,
                fds=fds,
            )
            exit_code = await self._child.exited()
        if exit_code != 0:
            raise ServerStartError(f"initdb failed. It said:\n{self._log_since(mark)[-2000:]}")
        self._accept(draft, password_file)

    def _clear_the_ground(self) -> tuple[Path, Path]:
        """The draft's place, and a file with the superuser's password; both readable by the server's user."""
        self._cluster.mkdir(mode=0o700, exist_ok=True)
        draft, password_file = self._cluster / "data.draft", self._cluster / "password.draft"
        if draft.exists():
            shutil.rmtree(draft)
        password = secret_in(self._folder / "password", make=lambda: secrets.token_urlsafe(24))
        write_private(password_file, password + "\n")
        if self._identity is not None:
            for owned in (self._cluster, password_file):
                os.chown(owned, self._identity.uid, self._identity.gid)
        return draft, password_file

    def _accept(self, draft: Path, password_file: Path) -> None:
        password_file.unlink()
        draft.rename(self._data)

    def _programs(self) -> PostgresPrograms:
        return postgres_programs(for_others=self._identity is not None)

    def _spawn(self, argv: list[str | Path], *, dies_by: signal.Signals, fds: tuple[int, ...]) -> Child:
        with self._log.open("ab") as log:
            return Child.spawn(
                argv,
                dies_by=dies_by,
                env=_ENVIRONMENT,
                cwd=Path("/"),
                output=log,
                identity=self._identity,
                pass_fds=fds,
            )

    @contextmanager
    def _as_seen(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The path by which the server's user reaches `cluster`, and the descriptors it must inherit for it.

        As root we hand the work to nobody, who may have no way into our folder (/root is 0700). No parent
        folder is opened for that: the server inherits a descriptor of its own folder and walks in through
        /proc/self/fd, which needs no right on the way.
        """
        if self._identity is None or reachable_by_others(self._folder):
            yield str(self._cluster), ()
            return
        if sys.platform != "linux":
            raise ServerStartError(
                f"{self._folder} can be entered by root only, and PostgreSQL must not run as root. "
                "Run as an ordinary user, or set FAREBOX_HOME to a folder that others may enter."
            )
        fd = os.open(self._cluster, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{fd}", (fd,)
        finally:
            os.close(fd)

    def _pid_file(self) -> list[str]:
        """Its lines; 1 is the process id, 8 the status. Empty while there is none."""
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _recorded_pid(self) -> int | None:
        lines = self._pid_file()
        if not lines and not (self._data / "postmaster.pid").exists():
            return None
        return int(lines[0]) if lines and lines[0].strip().isdigit() else 0


def embedded_postgres(
    folder: Path, *, settings: Mapping[str, str] = _NO_SETTINGS, port: int | None = None
) -> EmbeddedPostgres:
    """A PostgreSQL server for the length of an `async with`. Raises ServerStartError, FolderInUseError."""
    return EmbeddedPostgres(folder, settings=settings, port=port)


def _unprivileged() -> Identity | None:
    """PostgreSQL refuses to run as root; `nobody` exists everywhere and owns nothing."""
    if os.geteuid() != 0:
        _refuse_the_nameless()
        return None
    nobody = pwd.getpwnam("nobody")
    return Identity(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _refuse_the_nameless() -> None:
    """PostgreSQL looks its user up by number and ends if there is no name, as in `docker run --user 1000`."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise ServerStartError(
            f"PostgreSQL needs a user with a name, and number {os.geteuid()} has none in /etc/passwd. Run as "
            "one that has (root will do), or set FAREBOX_DATABASE_URL to a PostgreSQL of your own."
        ) from None
