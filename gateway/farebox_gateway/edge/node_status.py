"""What this node enforces, said as hashes: `farebox_contract.node_status` is the specification.

Every durable change is noted when the data plane learns of it, and hashed later, a few at a time, so that no
request waits for it: what was loaded at the start takes seconds for a hundred thousand consumers, a change
some microseconds. Knows forms and hashes, not what anything means.
"""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web

from farebox_contract import node_status as contract
from farebox_gateway.edge.plugins.base import Plugin
from farebox_gateway.edge.store import Change, Path, Store

SLICE: Final = 50
PAUSE_SECONDS: Final = 0.001
PATIENCE_SECONDS: Final = 5.0
MAX_BODY_BYTES: Final = 256 * 1024
PLUGIN_VERSION: Final = 1
"""The same number as the Lua plugins': both do what the contract of this version says."""

Value = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """Which usage lines this process writes; `head` tells the number of the last one."""

    node: str
    boot: str
    worker: int
    head: Callable[[], int]
    now_ms: Callable[[], int]


class HeldForms:
    """The hashes of all consumers and credentials that the data plane holds."""

    def __init__(self) -> None:
        self._hashes: dict[str, int] = {}
        self._buckets = [contract.NO_HASH] * contract.BUCKETS
        self._waiting: dict[Path, Value | None] = {}
        self._loading: list[Path] = []
        self._store: Store | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    def note(self, changes: Sequence[Change]) -> None:
        """Take in what the data plane was just told; costs the caller next to nothing."""
        if self._store is None:
            return
        for change in changes:
            if change.path[0] == "consumers":
                self._waiting[change.path] = change.value
                self._idle.clear()
                self._wake.set()

    @contextlib.asynccontextmanager
    async def following(self, store: Store) -> AsyncIterator[None]:
        """Hash what the store has loaded, and follow it, for as long as the context lasts."""
        self._store = store
        self._loading = list(store.consumer_paths())
        self._wake.set()
        task = asyncio.get_running_loop().create_task(self._work(store))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def settled(self, seconds: float) -> bool:
        """Wait until every change is hashed, at most so long; tell whether it is so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._idle.is_set()

    @property
    def buckets(self) -> list[str]:
        """The hash of each bucket."""
        return [contract.shown(number) for number in self._buckets]

    def bucket(self, number: int) -> dict[str, str]:
        """Return the items of one bucket with their hashes."""
        return {
            name: contract.shown(found)
            for name, found in self._hashes.items()
            if contract.bucket_of(name) == number
        }

    def find(self, name: str) -> str | None:
        """Return the hash of an item; None if it is not held."""
        found = self._hashes.get(name)
        return None if found is None else contract.shown(found)

    async def _work(self, store: Store) -> None:
        while True:
            await self._wake.wait()
            done = 0
            while self._waiting and done < SLICE:
                path = next(iter(self._waiting))
                self._put(path, self._waiting.pop(path))
                done += 1
            while self._loading and done < SLICE:
                path = self._loading.pop()
                self._put(path, store.value(path))
                done += 1
            if not self._waiting and not self._loading:
                self._wake.clear()
                self._idle.set()
            else:
                await asyncio.sleep(PAUSE_SECONDS)

    def _put(self, path: Path, value: Value | None) -> None:
        name = contract.item_name(path[1], path[3] if len(path) == 4 else None)
        bucket = contract.bucket_of(name)
        self._buckets[bucket] ^= self._hashes.pop(name, contract.NO_HASH)
        if value is not None:
            number = contract.hash_of(_text(path, value))
            self._hashes[name] = number
            self._buckets[bucket] ^= number


class NodeStatus:
    """The endpoint. Answers whoever carries one of the Admin API's keys."""

    def __init__(
        self,
        held: HeldForms,
        store: Store,
        stream: Stream,
        plugins: Mapping[str, Plugin],
        *,
        keys: Iterable[str],
    ) -> None:
        self._held = held
        self._store = store
        self._stream = stream
        self._plugins = plugins
        self._keys = [key.encode() for key in keys]

    def add_to(self, app: web.Application) -> None:
        """Put the endpoint into an application."""
        app.router.add_get(contract.EDGE_PATH, self._get)
        app.router.add_post(contract.EDGE_PATH, self._post)

    async def _get(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return _denied()
        settled = await self._held.settled(PATIENCE_SECONDS)
        if (text := request.query.get("bucket")) is not None:
            if not (text.isascii() and text.isdigit() and int(text) < contract.BUCKETS):
                return _json(400, {"error_msg": f"bucket is a number below {contract.BUCKETS}"})
            return self._answer({"items": self._held.bucket(int(text))})
        if (name := request.query.get("item")) is not None:
            return self._answer({"text": self._form(name)})
        await self._store.settled()
        counts = self._store.counts()
        return self._answer(
            {
                "boot": self._stream.boot,
                "seq": self._stream.head(),
                "now": self._stream.now_ms(),
                "plugins": dict.fromkeys(sorted(self._plugins), PLUGIN_VERSION),
                "counts": {
                    "consumers": counts["consumers"],
                    "credentials": counts["credentials"],
                    "groups": counts["consumer_groups"],
                    "routes": counts["routes"],
                },
                "settled": settled,
                "buckets": self._held.buckets,
                "groups": self._few("consumer_groups", contract.group_text),
                "routes": self._few("routes", contract.route_text),
            }
        )

    async def _post(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return _denied()
        raw = await request.content.read(MAX_BODY_BYTES + 1) if request.can_read_body else b""
        try:
            asked = msgspec.json.decode(raw, type=dict[str, list[str]]).get("items")
        except msgspec.DecodeError:
            asked = None
        if asked is None or len(asked) > contract.MOST_ITEMS:
            return _json(400, {"error_msg": f"send items, a list of at most {contract.MOST_ITEMS} names"})
        await self._held.settled(PATIENCE_SECONDS)
        return self._answer({"hashes": [self._held.find(name) for name in asked]})

    def _allowed(self, request: web.Request) -> bool:
        given = request.headers.get("X-API-KEY", "").encode("utf-8", "surrogateescape")
        return any(hmac.compare_digest(given, key) for key in self._keys)

    def _answer(self, more: dict[str, Any]) -> web.Response:
        worker = {"worker": self._stream.worker, **more}
        return _json(200, {"v": contract.VERSION, "node": self._stream.node, "workers": [worker]})

    def _few(self, kind: str, text: Callable[[str, Value], bytes]) -> dict[str, str]:
        found = {}
        for name in self._store.table((kind,)) or ():
            value = self._store.value((kind, name))
            if value is not None:
                found[name] = contract.shown(contract.hash_of(text(name, value)))
        return found

    def _form(self, name: str) -> str | None:
        parts = name.split("/")
        if len(parts) not in {1, 3} or parts[1:2] not in ([], ["credentials"]):
            return None
        path = ("consumers", *parts)
        value = self._store.value(path)
        return None if value is None else _text(path, value).decode()


def _text(path: Path, value: Value) -> bytes:
    if len(path) == 4:
        return contract.credential_text(path[1], path[3], value)
    return contract.consumer_text(path[1], value)


def _json(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def _denied() -> web.Response:
    return _json(401, {"description": "missing or wrong apikey", "error_msg": "failed to check token"})
