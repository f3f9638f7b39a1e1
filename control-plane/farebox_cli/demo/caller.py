"""The demo's two ways of asking: a narrated request, and a crowd of counted ones.

The crowd keeps its own count of complete answers, which is later held against what was metered.
"""

import asyncio
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from farebox_cli.demo.narration import Narrator, pick, shorten_key

_SHOWN_HEADERS: Final = (
    "Retry-After",
    "RateLimit",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "WWW-Authenticate",
)
_SECRETS: Final = frozenset({"password", "access_token", "token", "client_secret"})
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, its headers and its JSON body (or its text)."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def data(self) -> Any:
        """The `data` of a successful answer of the API."""
        return self.body["data"]

    @property
    def code(self) -> str | None:
        """The error's code, where the body has the API's error shape."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return error.get("code") if isinstance(error, dict) else None


class Caller:
    """Makes requests and lets the narrator show them."""

    def __init__(self, narrator: Narrator) -> None:
        """Speak through `narrator`."""
        self._narrator = narrator
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def __aenter__(self) -> Self:
        """Use as a context: the connections are closed at its end."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._session.close()

    async def ask(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        key: str | None = None,
        body: object = None,
        quiet: bool = False,
    ) -> Reply:
        """Make one request, with an access token or an API key, and return what came back."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key is not None:
            headers["X-API-Key"] = key
        if not quiet:
            shown = {"X-API-Key": shorten_key(key)} if key else {}
            self._narrator.request(method, url, headers=shown, body=_masked(body))
        async with self._session.request(method, url, headers=headers, json=body) as response:
            text = await response.text()
            reply = Reply(response.status, response.headers.copy(), _parsed(text))
        if not quiet:
            self._narrator.response(
                reply.status, headers=pick(reply.headers, _SHOWN_HEADERS), body=_masked(reply.body)
            )
        return reply

    async def download(self, url: str, *, token: str | None = None) -> tuple[int, bytes]:
        """Fetch a file; return the status and its bytes."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._narrator.request("GET", url, headers={})
        async with self._session.get(url, headers=headers) as response:
            return response.status, await response.read()


@dataclass(slots=True)
class Crowd:
    """Requests that flow while things are killed, each to a path of its own.

    A request is `answered` once its answer has arrived whole; one whose connection broke is `broken`: the
    gateway may have answered it or not.
    """

    url: str
    key: str
    answered: dict[str, int] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def flow(self, *, width: int, pause: float) -> None:
        """Ask with `width` requests at a time, `pause` seconds after each answer, until `stop`."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(self._one_by_one(session, pause))

    def stop(self) -> None:
        """Let the requests under way finish and ask no more."""
        self._stop.set()

    async def _one_by_one(self, session: aiohttp.ClientSession, pause: float) -> None:
        while not self._stop.is_set():
            name = f"crowd-{next(self._numbers):06d}"
            try:
                async with session.get(f"{self.url}/{name}", headers={"X-API-Key": self.key}) as response:
                    await response.read()
                    self.answered[name] = response.status
            except (aiohttp.ClientError, TimeoutError):
                self.broken.add(name)
            await asyncio.sleep(pause)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _masked(body: object) -> object:
    """Hide what a terminal's scroll-back should not keep."""
    if isinstance(body, dict):
        return {name: _mask(name, value) for name, value in body.items()}
    return body


def _mask(name: str, value: object) -> object:
    if name in _SECRETS and isinstance(value, str):
        return "…"
    if name == "key" and isinstance(value, str) and len(value) > 40:
        return shorten_key(value)
    return _masked(value)
