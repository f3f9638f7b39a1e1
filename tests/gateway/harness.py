"""What the gateway's tests stand on: a gateway process, an upstream that tells what it saw, and clients.

The gateway is another process, as in production, so that it can be killed; upstream and client live in the
test's own loop. With FAREBOX_TEST_GATEWAY_ADMIN_URL, …_DATA_URL and …_ADMIN_KEY set, the contract tests
run unchanged against that gateway instead; with …_USAGE_LOG, the path of its usage log, also those that read
usage lines, and with …_IDENTITY_SECRET, one of its secrets, those that check what it signs.
"""

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientResponse, ClientSession, WSMsgType, web
from tests.support.processes import launch_and_wait_for_line

FOREIGN_ADMIN_URL: Final = os.environ.get("FAREBOX_TEST_GATEWAY_ADMIN_URL")
FOREIGN_DATA_URL: Final = os.environ.get("FAREBOX_TEST_GATEWAY_DATA_URL")
FOREIGN_USAGE_LOG: Final = os.environ.get("FAREBOX_TEST_GATEWAY_USAGE_LOG")
FOREIGN_IDENTITY_SECRET: Final = os.environ.get("FAREBOX_TEST_GATEWAY_IDENTITY_SECRET")
IDENTITY_SECRETS: Final = ("first-secret-of-the-tests-0123456789", "other-secret-of-the-tests-0123456789")
ADMIN_KEY: Final = os.environ.get("FAREBOX_TEST_GATEWAY_ADMIN_KEY", "test-admin-key")
KINDS_IN_ORDER: Final = ("routes", "services", "upstreams", "consumers", "consumer_groups", "global_rules")
_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """Return a name that no other test has, so that tests may share a gateway."""
    return f"{prefix}{os.getpid()}x{next(_numbers)}x{secrets.token_hex(3)}"


@dataclass(slots=True)
class Gateway:
    """A running gateway, ours or another."""

    admin: str
    data: str
    admin_key: str = ADMIN_KEY
    foreign: bool = False
    pid: int = 0
    folder: Path = Path()
    process: asyncio.subprocess.Process | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    usage_log: Path | None = None
    log_begins: int = 0
    """How long another gateway's usage log was when the tests began."""

    @property
    def log_path(self) -> Path:
        """Where the gateway writes its usage lines."""
        return self.folder / "usage.log" if self.usage_log is None else self.usage_log

    @property
    def log_is_known(self) -> bool:
        """Whether usage lines can be read."""
        return not self.foreign or self.usage_log is not None

    @property
    def identity_secret(self) -> str | None:
        """A secret by which the gateway signs, if it is known."""
        return FOREIGN_IDENTITY_SECRET if self.foreign else IDENTITY_SECRETS[0]

    @property
    def data_port(self) -> int:
        """The data plane's port, for raw sockets."""
        return int(self.data.rpartition(":")[2])

    def raw_lines(self) -> list[bytes]:
        """Return all whole usage lines since the tests began, as they are."""
        with self.log_path.open("rb") as file:
            file.seek(self.log_begins)
            return file.read().split(b"\n")[:-1]

    def lines(self) -> list[dict[str, Any]]:
        """Return all whole usage lines since the tests began."""
        return [json.loads(line) for line in self.raw_lines()]

    async def written(self, session: ClientSession) -> None:
        """Wait until the lines of all that was answered are in the log.

        Ours are there before the answer's end. nginx writes a line after the answer, a worker's in their
        order: once the line of a later request is there, so are those before it (of one worker).
        """
        if not self.foreign:
            return
        marker = unique("/later")
        async with session.get(f"{self.data}{marker}"):
            pass
        for _ in range(500):
            if any(marker.encode() in line for line in self.raw_lines()[-200:]):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(
            "the gateway's usage log does not grow: is FAREBOX_TEST_GATEWAY_USAGE_LOG right?"
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to our gateway."""
        os.kill(self.pid, number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End our gateway and return its exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.send(number)
        return await self.process.wait()


async def start_edge(folder: Path, **settings: str) -> Gateway:
    """Start our gateway on free ports with its state in `folder`; settings are FAREBOX_EDGE_* without it."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {
        "ADMIN_KEY": ADMIN_KEY,
        "DATA_PORT": "0",
        "ADMIN_PORT": "0",
        "STATE_FOLDER": str(folder / "state"),
        "LOG_PATH": str(folder / "usage.log"),
        "NODE": "test-1",
        "COUNTERS": "local",
        "IDENTITY_SECRETS": ",".join(IDENTITY_SECRETS),
        **settings,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    environment |= {f"FAREBOX_EDGE_{name}": value for name, value in given.items()}
    process, line = await launch_and_wait_for_line(
        [sys.executable, "-m", "farebox_gateway.edge"], env=environment
    )
    ready = json.loads(line)
    return Gateway(ready["admin"], ready["data"], ADMIN_KEY, False, ready["pid"], folder, process, given)


@contextlib.asynccontextmanager
async def running_edge(folder: Path, **settings: str) -> AsyncIterator[Gateway]:
    """Run our gateway for a while."""
    gateway = await start_edge(folder, **settings)
    try:
        yield gateway
    finally:
        await gateway.stop()


@dataclass(slots=True)
class Answer:
    """An answer of the Admin API."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)

    @property
    def value(self) -> dict[str, Any]:
        """The resource in the body."""
        found: dict[str, Any] = self.json["value"]
        return found

    @property
    def error(self) -> str:
        """What the Admin API says is wrong."""
        found: str = self.json["error_msg"]
        return found


class Admin:
    """A client of the Admin API that takes its objects away again."""

    def __init__(self, gateway: Gateway, session: ClientSession) -> None:
        self.gateway = gateway
        self.session = session
        self._made: list[str] = []

    async def call(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call under /apisix/admin."""
        data = raw if raw is not None else None if value is None else json.dumps(value).encode()
        async with self.session.request(
            method,
            f"{self.gateway.admin}/apisix/admin{path}",
            data=data,
            headers={"X-API-KEY": self.gateway.admin_key} if headers is None else headers,
        ) as response:
            answer = Answer(response.status, await response.text(), dict(response.headers))
        if answer.status == 201:
            self._made.append(answer.json["key"].removeprefix("/apisix"))
        return answer

    async def put(self, path: str, value: Any) -> dict[str, Any]:
        """Put a resource that must be accepted; return it as stored."""
        answer = await self.call("PUT", path, value)
        assert answer.status in {200, 201}, answer.text
        return answer.value

    async def get(self, path: str) -> Answer:
        """Read."""
        return await self.call("GET", path)

    async def delete(self, path: str) -> Answer:
        """Delete."""
        return await self.call("DELETE", path)

    async def settled(self) -> None:
        """Let another gateway catch up: APISIX checks uses by what its workers have watched so far."""
        if self.gateway.foreign:
            await asyncio.sleep(0.5)

    async def clean(self) -> None:
        """Take away what this client made, users before what they use."""
        rank = {kind: index for index, kind in enumerate(KINDS_IN_ORDER)}
        made = dict.fromkeys(self._made)
        for path in sorted(made, key=lambda one: rank.get(one.split("/")[1], -1)):
            await self.call("DELETE", f"{path}?force=true")


@dataclass(slots=True)
class Upstream:
    """A server behind the gateway that tells what it saw. `/echo…` answers with the request as JSON."""

    port: int
    seen: list[dict[str, Any]]
    gates: dict[str, asyncio.Event]

    @property
    def node(self) -> dict[str, int]:
        """As the nodes of an upstream."""
        return {f"127.0.0.1:{self.port}": 1}

    def gate(self, name: str) -> asyncio.Event:
        """Return the event that a `/gated/{name}` request waits for."""
        return self.gates.setdefault(name, asyncio.Event())


@contextlib.asynccontextmanager
async def running_upstream() -> AsyncIterator[Upstream]:
    """Run an upstream in this loop."""
    upstream = Upstream(0, [], {})
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/stream/{name}", _stream(upstream))
    app.router.add_route("*", "/gated/{name}", _gated(upstream))
    app.router.add_route("*", "/status/{code}", _status)
    app.router.add_route("*", "/broken/{name}", _broken)
    app.router.add_route("*", "/units/{units}", _units)
    app.router.add_route("GET", "/ws", _websocket)
    app.router.add_route("*", "/{rest:.*}", _echo(upstream))
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=0.1, max_line_size=65_536, max_field_size=65_536
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.port = runner.addresses[0][1]
    try:
        yield upstream
    finally:
        for gate in upstream.gates.values():
            gate.set()
        await runner.cleanup()


Handler = Callable[[web.Request], Any]


def _echo(upstream: Upstream) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
        seen = {
            "method": request.method,
            "target": request.raw_path,
            "headers": [[name, value] for name, value in request.headers.items()],
            "length": len(body),
            "body": bytes(body[:4096]).decode("latin-1"),
        }
        upstream.seen.append(seen)
        return web.json_response(seen, headers={"X-Upstream": "echo"})

    return handle


def _stream(upstream: Upstream) -> Handler:
    """Answer in three chunks, the last two only when the gate `{name}` opens."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(b"first")
        await upstream.gate(request.match_info["name"]).wait()
        await response.write(b"second")
        await response.write(b"third")
        await response.write_eof()
        return response

    return handle


def _gated(upstream: Upstream) -> Handler:
    """Answer only when the gate `{name}` opens; `{name}-arrived` opens when the request has come."""

    async def handle(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        upstream.gate(f"{name}-arrived").set()
        await upstream.gate(name).wait()
        return web.Response(text="gated")

    return handle


async def _status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["code"]), text="as you wish")


async def _broken(request: web.Request) -> web.StreamResponse:
    """Break off: at once, or (`body`) in the middle of a body whose length was announced."""
    assert request.transport is not None
    if request.match_info["name"] == "body":
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"a part")
        await asyncio.sleep(0)
    request.transport.close()
    raise asyncio.CancelledError


async def _units(request: web.Request) -> web.Response:
    return web.Response(text="metered", headers={"X-Farebox-Units": request.match_info["units"]})


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data.upper())
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data[::-1])
    return socket


async def enforced(
    call: Callable[[], Any], wanted: Callable[[ClientResponse], bool], *, attempts: int = 400
) -> ClientResponse:
    """Repeat a request until the edge enforces what was written; another gateway takes milliseconds."""
    response: ClientResponse | None = None
    for _ in range(attempts):
        response = await call()
        await response.read()
        if wanted(response):
            return response
        await asyncio.sleep(0.01)
    assert response is not None
    raise AssertionError(f"not enforced; last answer {response.status}: {await response.text()}")


async def raw_exchange(port: int, request: bytes, *, until_close: bool = True) -> bytes:
    """Send bytes to a port of this machine and return what comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        if until_close:
            return await reader.read()
        return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
