"""Starts a real Redis in one folder, for `farebox up`, the demo and the tests.

Refuses to know what is kept in it. The password stands in a configuration file of mode 0600, not on a
command line that every user of the machine can read.

    folder/lock  folder/password  folder/port  folder/redis.conf  folder/redis-server.log
    folder/data  the append-only file and the pid file
"""

import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from farebox_cli.private_files import secret_in, write_private
from farebox_cli.servers.binaries import redis_server_program
from farebox_cli.servers.embedded import EmbeddedServer
from farebox_cli.servers.process import Child

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server; the URL holds its password and names logical database 0."""

    url: str
    pid: int


class EmbeddedRedis(EmbeddedServer[RedisServer]):
    """One Redis server on one folder. A kill loses at most what the append-only file did not yet hold."""

    name: ClassVar[str] = "Redis"
    program: ClassVar[str] = "redis-server"
    stop_steps = ((signal.SIGTERM, 20.0),)

    def __init__(self, folder: Path, *, appendonly: bool = True, port: int | None = None) -> None:
        """Without `appendonly` nothing is written to disk. `port` None takes the last port or a free one."""
        super().__init__(folder, port=port)
        self._appendonly = appendonly
        self._data = self._folder / "data"

    async def _prepare(self) -> None:
        self._data.mkdir(mode=0o700, exist_ok=True)
        await self._outlive_predecessor(self._recorded_pid, self._data)

    def _launch(self, port: int) -> Child:
        configuration = (
            f"bind {_HOST}",
            f"port {port}",
            f"requirepass {self._password()}",
            f'dir "{_quoted(self._data)}"',
            f'pidfile "{_quoted(self._pid_path)}"',
            "daemonize no",
            'save ""',
            f"appendonly {'yes' if self._appendonly else 'no'}",
            "appendfsync everysec",
        )
        write_private(self._folder / "redis.conf", "\n".join(configuration) + "\n")
        program = redis_server_program()
        with self._log.open("ab") as log:
            return Child.spawn(
                [program, self._folder / "redis.conf"], dies_by=signal.SIGTERM, cwd=self._data, output=log
            )

    async def _answers(self, child: Child, port: int) -> RedisServer | None:
        url = f"redis://:{self._password()}@{_HOST}:{port}/0"
        async with Redis.from_url(url, socket_timeout=5.0) as client:
            try:
                about = await client.info("server")
                await client.ping()
            except (
                RedisError
            ):  # not listening yet, still loading its file, or a stranger that refuses our password
                return None
        return RedisServer(url=url, pid=child.pid) if about["process_id"] == child.pid else None

    def _may_try_again(self, said: str) -> bool:
        return "Address already in use" in said

    def _password(self) -> str:
        return secret_in(self._folder / "password", make=lambda: secrets.token_urlsafe(24))

    @property
    def _pid_path(self) -> Path:
        return self._data / "redis.pid"

    def _recorded_pid(self) -> int | None:
        try:
            text = self._pid_path.read_text().strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isdigit() else 0


def embedded_redis(folder: Path, *, appendonly: bool = True, port: int | None = None) -> EmbeddedRedis:
    """A Redis server for the length of an `async with`. Raises ServerStartError, FolderInUseError."""
    return EmbeddedRedis(folder, appendonly=appendonly, port=port)


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
