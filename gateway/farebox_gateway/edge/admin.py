"""The Admin API over HTTP, as APISIX 3.18 answers it: paths, statuses, envelopes and error texts.

What a resource must look like is `resources`' matter, what is stored `store`'s.
"""

import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import msgspec
from aiohttp import web

from farebox_gateway.edge import kinds
from farebox_gateway.edge.resource_checks import NotFoundError, RefusedError
from farebox_gateway.edge.resources import Resources
from farebox_gateway.edge.store import Entry, Path, StoreUnavailableError

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 1_572_864
PREFIX: Final = "/apisix/admin"
_LIST_ITEMS_A_WRITE: Final = 500
_SUB_RESOURCE: Final = re.compile(r"consumers/([^/]+)/credentials(?:/([^/]+))?")
_encode = msgspec.json.Encoder().encode

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _UnreadableError(RefusedError):
    """A call that APISIX refuses before it knows the version of its API: the answer does not name it."""


class AdminApi:
    """Handlers of `/apisix/admin/…`."""

    def __init__(self, resources: Resources, *, admin_key: str, viewer_key: str | None) -> None:
        self._resources = resources
        self._admin_key = admin_key.encode()
        self._viewer_key = viewer_key.encode() if viewer_key else None

    def add_to(self, app: web.Application) -> None:
        """Put the Admin API into an application."""
        app.router.add_route("*", PREFIX + "/{rest:.*}", self.handle)
        app.router.add_route("*", PREFIX, self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        refused = self.refuse(request)
        if refused is not None:
            return refused
        try:
            return await self._dispatch(request)
        except _UnreadableError as error:
            return _json(error.status, error.body, versioned=False)
        except RefusedError as error:
            return _json(error.status, error.body)
        except NotFoundError as error:
            return _json(404, {"message": str(error)})
        except StoreUnavailableError as error:
            log.warning("admin write refused: %s", error)
            return _json(503, {"error_msg": f"the gateway's state cannot be written: {error}"})

    def refuse(self, request: web.Request) -> web.Response | None:
        """Return why a call may not be made; nothing if its key is right."""
        given = request.headers.get("X-API-KEY") or request.query.get("api_key")
        if not given:
            return _denied("missing apikey")
        token = given.encode("utf-8", "surrogateescape")
        if hmac.compare_digest(token, self._admin_key):
            return None
        if self._viewer_key is not None and hmac.compare_digest(token, self._viewer_key):
            return None if request.method == "GET" else _denied("invalid method for role viewer")
        return _denied("wrong apikey")

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        rest = request.match_info.get("rest", "").strip("/")
        parts = [part for part in rest.split("/") if part]
        if not parts:
            raise NotFoundError("not found")
        if parts[0] in {"plugins", "schema", "configs"}:
            return await self._about_plugins(request, parts)
        prefix: Path
        if match := _SUB_RESOURCE.fullmatch(rest):
            plural, prefix, name, sub = "credentials", ("consumers", match[1], "credentials"), match[2], []
        else:
            plural, prefix, name, sub = parts[0], (parts[0],), (parts[1] if parts[1:] else None), parts[2:]
        kind = kinds.BY_PLURAL.get(plural)
        if kind is None or prefix == ("credentials",):
            raise _UnreadableError(404, {"error_msg": f"Unsupported resource type: {parts[0]}"})
        if request.method not in kind.methods:
            noun = kind.noun if kind.plural == "plugin_metadata" else kind.words
            return _json(405, {"error_msg": f"not supported `{request.method}` method for {noun}"})
        if request.method == "GET":
            return await self._get(request, prefix, name)
        if request.method == "DELETE":
            return await self._delete(request, kind, prefix, name)
        return await self._write(request, kind, prefix, name, sub)

    async def _write(
        self, request: web.Request, kind: kinds.Kind, prefix: Path, name: str | None, sub: list[str]
    ) -> web.StreamResponse:
        body, ttl, resources = await _body(request), _ttl(request), self._resources
        if request.method == "PUT":
            path, value, created = await resources.put(kind, prefix, name, body, ttl=ttl)
        elif request.method == "POST":
            path, value, created = await resources.post(kind, prefix, name, body, ttl=ttl)
        else:
            path, value, created = await resources.patch(kind, prefix, name, sub, body, ttl=ttl)
        return _json(201 if created else 200, {"key": _key(path), "value": value})

    # -- reading

    async def _get(self, request: web.Request, prefix: Path, name: str | None) -> web.StreamResponse:
        store = self._resources.store
        await store.settled()
        if name is not None:
            entry = store.get((*prefix, name))
            if entry is None:
                raise NotFoundError("Key not found")
            return web.Response(
                body=_item((*prefix, name), entry), content_type="application/json", headers=_VERSION
            )
        table = store.table(prefix)
        if table is None:
            raise NotFoundError("Key not found")
        label = request.query.get("label")
        entries = list(table.items())
        if label:
            wanted = label.encode()
            entries = [row for row in entries if wanted in row[1].raw and label in _labels(row[1])]
        total = len(entries)
        page = _page(request)
        if page is None:
            entries.sort(key=lambda row: row[0])
        else:
            if isinstance(page, str):
                return web.Response(status=400, text=page, headers=_VERSION)
            number, size = page
            entries = entries[(number - 1) * size : number * size]
        if not entries:
            empty = b"[]" if total == 0 else b"{}"
            return web.Response(
                body=b'{"list":%b,"total":%d}' % (empty, total),
                content_type="application/json",
                headers=_VERSION,
            )
        response = web.StreamResponse(headers={"Content-Type": "application/json", **_VERSION})
        await response.prepare(request)
        for chunk in _chunks(prefix, entries, total):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _delete(
        self, request: web.Request, kind: kinds.Kind, prefix: Path, name: str | None
    ) -> web.StreamResponse:
        path = await self._resources.delete(kind, prefix, name, force=request.query.get("force") == "true")
        return _json(200, {"key": _key(path), "deleted": "1"})

    async def _about_plugins(self, request: web.Request, parts: list[str]) -> web.StreamResponse:
        resources, answer = self._resources, None
        match (request.method, *parts):
            case ("GET", "plugins", "list"):
                answer = _json(200, resources.plugin_names())
            case ("GET", "plugins"):
                answer = _json(200, resources.plugin_attributes())
            case ("PUT", "plugins", "reload"):
                answer = web.Response(text="done", headers=_VERSION)
            case ("GET", "plugins", name) | ("GET", "schema", "plugins", name):
                schema = resources.plugin_schema(name, request.query.get("schema_type"))
                missing = {"error_msg": "plugin not found in subsystem http"}
                answer = _json(404, missing) if schema is None else _json(200, schema)
            case ("GET", "schema", noun):
                found = [dict(kind.schema.source) for kind in kinds.BY_PLURAL.values() if kind.noun == noun]
                unknown = {"error_msg": f"not found schema: {noun}"}
                answer = _json(200, found[0]) if found else _json(400, unknown)
            case ("POST", "schema", "validate", plural) if plural in kinds.BY_PLURAL:
                resources.checks.check_schema(kinds.BY_PLURAL[plural], await _body(request))
                answer = web.Response(headers=_VERSION)
        if answer is None:
            raise NotFoundError("not found")
        return answer


_VERSION: Final = {"X-API-VERSION": "v3"}


def _json(status: int, value: Any, *, versioned: bool = True) -> web.Response:
    headers = _VERSION if versioned else None
    return web.Response(status=status, body=_encode(value), content_type="application/json", headers=headers)


def _denied(reason: str) -> web.Response:
    return _json(401, {"description": reason, "error_msg": "failed to check token"}, versioned=False)


async def _body(request: web.Request) -> dict[str, Any]:
    """Return the request's JSON object. Raises `RefusedError` as APISIX would refuse it."""
    size = request.content_length or 0
    raw = b""
    if size <= MAX_BODY_BYTES:
        while not request.content.at_eof() and len(raw) <= MAX_BODY_BYTES:
            raw += await request.content.read(MAX_BODY_BYTES + 1 - len(raw))
        size = len(raw)
    if size > MAX_BODY_BYTES:
        allowed = f"greater than the maximum size {MAX_BODY_BYTES} allowed"
        raise RefusedError(400, {"error_msg": f"request size {size} is {allowed}"})
    if not raw:
        raise RefusedError(400, {"error_msg": "missing configurations"})
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = raw.decode("utf-8", "replace")
        why = {"error_msg": f"invalid request body: {error}", "req_body": text}
        raise _UnreadableError(400, why) from None
    if not isinstance(value, dict):
        raise RefusedError(400, {"error_msg": "invalid configuration: wrong type: expected object"})
    return value


def _ttl(request: web.Request) -> int | None:
    text = request.query.get("ttl")
    return int(text) if text is not None and text.isdigit() and int(text) > 0 else None


def _page(request: web.Request) -> tuple[int, int] | str | None:
    """Return page and size; nothing if the list is not paged; a text if it is refused."""
    number, size = request.query.get("page", ""), request.query.get("page_size", "")
    if not re.fullmatch(r"-?\d+", number) or not re.fullmatch(r"-?\d+", size):
        return None
    if not 10 <= int(size) <= 500:
        return "page_size must be between 10 and 500"
    return max(1, int(number)), int(size)


def _labels(entry: Entry) -> dict[str, str]:
    value = msgspec.json.decode(entry.raw, type=dict[str, Any])
    labels: dict[str, str] = value.get("labels") or {}
    return labels


def _key(path: Path) -> str:
    return "/apisix/" + "/".join(path)


def _item(path: Path, entry: Entry) -> bytes:
    return b'{"key":%b,"value":%b,"createdIndex":%d,"modifiedIndex":%d}' % (
        _encode(_key(path)),
        entry.raw,
        entry.created,
        entry.modified,
    )


def _chunks(prefix: Path, entries: list[tuple[str, Entry]], total: int) -> Iterator[bytes]:
    yield b'{"list":['
    for start in range(0, len(entries), _LIST_ITEMS_A_WRITE):
        part = entries[start : start + _LIST_ITEMS_A_WRITE]
        yield (b"," if start else b"") + b",".join(_item((*prefix, name), entry) for name, entry in part)
    yield b'],"total":%d}' % total
