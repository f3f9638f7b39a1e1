"""Recorded exchanges: our requests and what a real gateway answered, as data, and how the two are compared.

A scenario's file holds requests in order, each with the answer that the named gateway gave. What differs
from run to run is a placeholder in them: `{id}` is a name that nobody else has, `{upstream}` the port of the
server behind the gateway, `{dead}` one where nobody listens, `{key}` and `{other}` texts of keys with
`{digest}` and `{other_digest}`, `{org}` the organization in them.
"""

import asyncio
import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from aiohttp import ClientSession
from tests.gateway.harness import Gateway, Upstream, unique

from farebox_contract import keys

FOLDER: Final = Path(__file__).parent / "exchanges"
SHOWN_HEADERS: Final = frozenset(
    {
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "access-control-max-age",
        "apisix-cache-status",
        "content-encoding",
        "content-type",
        "location",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "vary",
        "www-authenticate",
        "x-added",
        "x-api-version",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-upstream",
    }
)
SEEN_HEADERS: Final = frozenset(
    {
        "apikey",
        "authorization",
        "host",
        "x-api-key",
        "x-added",
        "x-consumer-custom-id",
        "x-consumer-group-id",
        "x-consumer-username",
        "x-credential-identifier",
        "x-farebox-units",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-real-ip",
    }
)
"""What is compared of the headers that the upstream saw."""
_SECONDS: Final = frozenset({"retry-after", "x-ratelimit-reset"})
_METADATA: Final = {"create_time", "update_time", "createdIndex", "modifiedIndex"}
_LATIN: Final = "latin-1"


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `body` is JSON, `raw` a text that may be none."""

    plane: Literal["admin", "data"]
    method: str
    path: str
    body: Any = None
    raw: str | None = None
    headers: Mapping[str, str] | None = None

    def as_data(self) -> dict[str, Any]:
        """Return the request as it stands in a file."""
        rows = {"plane": self.plane, "method": self.method, "path": self.path}
        rows |= {
            name: value for name in ("body", "raw", "headers") if (value := getattr(self, name)) is not None
        }
        return rows


class Performer:
    """Performs requests at a gateway and returns its answers with placeholders for what varies."""

    def __init__(self, gateway: Gateway, session: ClientSession, upstream: Upstream) -> None:
        self._gateway = gateway
        self._session = session
        self._written = False
        self._made: dict[str, None] = {}
        organization = keys.public_id()
        first, second = (keys.issue("live", organization, keys.public_id()) for _ in range(2))
        self._names = {
            "id": unique("x"),
            "upstream": str(upstream.port),
            "dead": str(_closed_port()),
            "key": first.text,
            "digest": first.digest,
            "key_id": first.name.key,
            "other": second.text,
            "other_digest": second.digest,
            "other_id": second.name.key,
            "org": organization,
        }

    async def perform(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make one request and return its answer, normalised."""
        admin = request["plane"] == "admin"
        if admin:
            self._written = self._written or request["method"] != "GET"
        elif self._written:
            await self._settle()
        base = f"{self._gateway.admin}/apisix/admin" if admin else self._gateway.data
        headers = {name: self._filled(value) for name, value in (request.get("headers") or {}).items()}
        if admin and "headers" not in request:
            headers["X-API-KEY"] = self._gateway.admin_key
        body = request.get("raw")
        if "body" in request:
            body = json.dumps(request["body"])
        path = self._filled(request["path"])
        async with self._session.request(
            request["method"],
            base + path,
            data=None if body is None else self._filled(body).encode(),
            headers={"Accept-Encoding": "identity", **headers},
            allow_redirects=False,
        ) as response:
            raw = await response.read()
            if admin and response.status == 201:
                self._made[json.loads(raw)["key"].removeprefix("/apisix")] = None
            kept = {
                name.lower(): self._plain(value)
                for name, value in sorted(response.headers.items())
                if name.lower() in SHOWN_HEADERS
            }
            return normal(response.status, kept, self._plain(raw.decode(_LATIN)), admin=admin)

    async def clean(self) -> None:
        """Take away what was made, in reverse."""
        for path in reversed(self._made):
            async with self._session.delete(
                f"{self._gateway.admin}/apisix/admin{path}?force=true",
                headers={"X-API-KEY": self._gateway.admin_key},
            ):
                pass

    async def _settle(self) -> None:
        """Let another gateway take up what was written; ours enforces what it has answered."""
        self._written = False
        if self._gateway.foreign:
            await asyncio.sleep(0.6)

    def _filled(self, text: str) -> str:
        for name, value in self._names.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def _plain(self, text: str) -> str:
        for name, value in self._names.items():
            text = text.replace(value, f"{{{name}}}")
        return text.replace(self._gateway.data.removeprefix("http://"), "{gateway}")


def normal(status: int, headers: dict[str, str], text: str, *, admin: bool) -> dict[str, Any]:
    """Return an answer with what may differ between two gateways or two runs made equal.

    - Times, revisions and request ids are replaced, seconds until a reset too.
    - `key-auth` keys are left out: APISIX shows them encrypted in the answer to a write.
    - Of the Admin API's headers its version remains; of "invalid request body" the parser's words are cut.
    - Of a page or a message of its own (no route, upstream failed, a bare status) only that it is one
      remains: ours are in the API's error shape.
    - Of the request that the tests' upstream echoes, what it is told of the client and the consumer remains.
    """
    for name in _SECONDS & headers.keys():
        headers[name] = "{seconds}"
    if "ratelimit" in headers:
        headers["ratelimit"] = re.sub(r"t=\d+", "t={seconds}", headers["ratelimit"])
    if headers.get("location", "").startswith("https://"):
        headers["location"] = re.sub(r"^(https://[^/:]*):\d+", r"\1", headers["location"])
    body: Any = text
    try:
        body = json.loads(text)
    except ValueError:
        if _own_page(text):
            body = "{the gateway's own words}"
    if admin:
        headers = {name: value for name, value in headers.items() if name == "x-api-version"}
        body = _stored(body)
    elif isinstance(body, dict):
        body = _answered(status, headers, body)
    if body == "{the gateway's own words}":
        headers.pop("content-type", None)
    return {"status": status, "headers": headers, "body": body}


def _own_page(text: str) -> bool:
    return "<html>" in text and "<center>" in text


def _answered(status: int, headers: dict[str, str], body: dict[str, Any]) -> Any:
    if {"method", "target", "headers", "body"} <= body.keys():
        seen = {name.lower(): value for name, value in body["headers"] if name.lower() in SEEN_HEADERS}
        seen["x-real-ip"] = "{client}"
        seen["x-forwarded-for"] = "{client}"
        return {**body, "headers": dict(sorted(seen.items()))}
    code = (body.get("error") or {}).get("code") if isinstance(body.get("error"), dict) else None
    if body.get("error_msg") == "404 Route Not Found" or code in {
        "route_not_found",
        "upstream_failed",
        "upstream_timeout",
    }:
        return "{the gateway's own words}"
    if code is not None:
        error = body["error"]
        error["request_id"] = "{rid}"
        error["message"] = re.sub(r"\d+ s\b", "{seconds} s", error["message"])
        error["details"] = sorted(error.get("details") or {})
    return body


def _stored(value: Any) -> Any:
    if isinstance(value, list):
        return [_stored(one) for one in value]
    if not isinstance(value, dict):
        return re.sub(r"(invalid request body: ).*", r"\1{why}", value) if isinstance(value, str) else value
    stored: dict[str, Any] = {
        name: f"{{{name}}}" if name in _METADATA else _stored(part) for name, part in value.items()
    }
    if isinstance(stored.get("key-auth"), dict) and "key" in stored["key-auth"]:
        stored["key-auth"]["key"] = "{secret}"
    return stored


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
