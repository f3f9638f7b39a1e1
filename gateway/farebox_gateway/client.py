"""The Admin API of a gateway: APISIX 3.18 or the embedded edge, which answer alike.

Every call ends within the timeout, retries included, because a successor of ours waits that long before it
trusts what it reads. Errors name the resource and carry the gateway's own text, cut and without anything
that looks like a secret. Knows resources, not why they are written.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import msgspec

from farebox_gateway.resources import Body, Kind, Observed, Ref

PAGE_SIZE: Final = 500
"""The largest page that APISIX gives; it takes 10 to 500."""
MAX_BODY_BYTES: Final = 1_572_864
_TEXT_LENGTH: Final = 400
_SECRETS: Final = re.compile(r"[A-Za-z0-9+/_=-]{32,}")
_TRIES: Final = 3
_PAUSE: Final = 0.05
_BUSY: Final = frozenset({429, 502, 503, 504})
_NOTHING: Final = object()


class GatewayError(Exception):
    """A call of the Admin API failed. `what` is the resource or list that it was about."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(f"{what}: {text}")
        self.what = what
        self.text = text


class GatewayUnreachableError(GatewayError):
    """No answer within the timeout, or one that says that the gateway cannot work now. Trying again helps."""


class GatewayDeniedError(GatewayError):
    """The gateway does not accept the admin key."""


class GatewayRefusedError(GatewayError):
    """The gateway refuses this resource; sending it again unchanged will not help."""

    def __init__(self, what: str, status: int, text: str) -> None:
        super().__init__(what, f"refused with {status}: {text}")
        self.status = status


@dataclass(slots=True)
class Calls:
    """How many calls were made, by what they do."""

    reads: int = 0
    writes: int = 0


class AdminClient:
    """Calls of one gateway's Admin API over one session. Made by `open_admin`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, key: str, timeout: float) -> None:
        self._session = session
        self._root = url.rstrip("/") + "/apisix/admin/"
        self._headers = {"X-API-KEY": key, "Content-Type": "application/json"}
        self._key = key
        self.timeout = timeout
        self.calls = Calls()

    async def get(self, ref: Ref) -> Observed | None:
        """Read one resource; None if it does not exist."""
        answer = await self._call("GET", ref.path, str(ref))
        return None if answer is None else _observed(answer, ref.consumer)

    async def credentials(self, consumer: str) -> list[Observed]:
        """Read all credentials of a consumer; none if it has none or does not exist."""
        path = f"consumers/{consumer}/credentials"
        answer = await self._call("GET", path, path)
        return [] if answer is None else [_observed(item, consumer) for item in _items(answer)]

    async def pages(self, kind: Kind, *, size: int = PAGE_SIZE) -> AsyncIterator[list[Observed]]:
        """Read all resources of a kind, one page in memory at a time.

        A list that changes meanwhile may show a resource twice or not at all. A kind that was never written
        answers 404, a page past the end an object instead of a list.
        """
        number, seen = 1, 0
        while True:
            what = f"{kind}, page {number}"
            answer = await self._call("GET", f"{kind}?page={number}&page_size={size}", what)
            items = [] if answer is None else _items(answer)
            if not items:
                return
            seen += len(items)
            yield [_observed(item, "") for item in items]
            if len(items) < size or seen >= int(answer.get("total", seen + 1)):
                return
            number += 1

    async def put(self, ref: Ref, body: Body) -> None:
        """Create or replace a resource. Raises `GatewayRefusedError` with the gateway's reason."""
        data = msgspec.json.encode(body)
        if len(data) > MAX_BODY_BYTES:
            raise GatewayRefusedError(str(ref), 400, f"{len(data)} bytes; a gateway takes {MAX_BODY_BYTES}")
        answer = await self._call("PUT", ref.path, str(ref), data=data)
        if answer is None:
            raise GatewayRefusedError(str(ref), 404, "what it belongs to does not exist")

    async def delete(self, ref: Ref) -> None:
        """Delete a resource; it is no error if it is gone already."""
        await self._call("DELETE", ref.path, str(ref))

    async def plugins(self) -> frozenset[str]:
        """Return the names of the plugins that the gateway has loaded."""
        answer = await self._call("GET", "plugins/list", "plugins/list")
        return frozenset(answer if isinstance(answer, list) else ())

    async def plugin_schema(self, name: str) -> Mapping[str, Any]:
        """Return a plugin's schema as the gateway shows it; empty if it has no such plugin."""
        answer = await self._call("GET", f"schema/plugins/{name}", f"schema/plugins/{name}")
        return answer if isinstance(answer, dict) else {}

    async def _call(self, method: str, path: str, what: str, *, data: bytes | None = None) -> Any:
        """Make a call; None for 404. PUT and DELETE say the same when said twice, so all may be retried."""
        if method == "GET":
            self.calls.reads += 1
        else:
            self.calls.writes += 1
        failure = f"no answer within {self.timeout:g} s"
        try:
            async with asyncio.timeout(self.timeout):
                for attempt in range(_TRIES):
                    if attempt:
                        await asyncio.sleep(_PAUSE * 4 ** (attempt - 1))
                    try:
                        answer = await self._once(method, path, what, data)
                    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
                        failure = f"{type(error).__name__}: {self._clean(str(error))}"
                        continue
                    except _BusyError as error:
                        failure = str(error)
                        continue
                    return None if answer is _NOTHING else answer
        except TimeoutError:
            raise GatewayUnreachableError(what, failure) from None
        raise GatewayUnreachableError(what, failure)

    async def _once(self, method: str, path: str, what: str, data: bytes | None) -> Any:
        async with self._session.request(
            method, self._root + path, data=data, headers=self._headers, allow_redirects=False
        ) as response:
            raw = await response.read()
        status = response.status
        if status in {200, 201}:
            try:
                return msgspec.json.decode(raw)
            except msgspec.DecodeError:
                raise GatewayRefusedError(
                    what, status, "the answer is no JSON: is this an Admin API?"
                ) from None
        if status in _BUSY:
            raise _BusyError(f"answered {status}: {self._text(raw)}")
        if status in {401, 403}:
            raise GatewayDeniedError(what, f"the admin key is not accepted: {self._text(raw)}")
        if status == 404 and _says_not_found(raw):
            return _NOTHING
        raise GatewayRefusedError(what, status, self._text(raw))

    def _text(self, raw: bytes) -> str:
        """Return what the gateway says is wrong; never the body that it echoes."""
        try:
            answer = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            return self._clean(raw.decode("utf-8", "replace"))
        if isinstance(answer, dict):
            answer = answer.get("error_msg") or answer.get("message") or answer.get("description") or ""
        return self._clean(str(answer))

    def _clean(self, text: str) -> str:
        text = _SECRETS.sub("…", text.replace(self._key, "…") if self._key else text)
        return " ".join(text.split())[:_TEXT_LENGTH] or "(no text)"


class _BusyError(Exception):
    """The gateway says that it cannot work now."""


@asynccontextmanager
async def open_admin(
    url: str,
    *,
    key: str,
    timeout: float,  # noqa: ASYNC109 - it bounds every call, not this one
    connections: int = 32,
) -> AsyncIterator[AdminClient]:
    """Open a client with a session of its own for as long as the context lasts; `timeout` in seconds."""
    connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=30)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),  # `_call` bounds every call as a whole
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    ) as session:
        yield AdminClient(session, url, key=key, timeout=timeout)


def _says_not_found(raw: bytes) -> bool:
    """Tell "there is no such resource" from a 404 of something that is no Admin API, or of a missing type."""
    try:
        answer = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return False
    return isinstance(answer, dict) and answer.get("message") == "Key not found"


def _items(answer: Any) -> list[Any]:
    found = answer.get("list") if isinstance(answer, dict) else None
    return found if isinstance(found, list) else []


def _observed(item: Any, consumer: str) -> Observed:
    """Read one item of the Admin API: its key says where it stands, `/apisix/{kind}/{id}…`."""
    parts = str(item["key"]).split("/")
    kind, id_ = Kind(parts[-2]), parts[-1]
    return Observed(Ref(kind, id_, consumer if kind is Kind.CREDENTIAL else ""), item["value"])
