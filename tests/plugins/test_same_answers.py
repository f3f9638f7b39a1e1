"""Both edges answer the same, whatever a client sends as a key: 10,000 variants of headers and query.

The Lua plugins stand in Debian's nginx, or where the tests are told of another gateway, in that one.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest_asyncio
from aiohttp import ClientSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.gateway.harness import (
    FOREIGN_ADMIN_URL,
    FOREIGN_DATA_URL,
    Admin,
    Gateway,
    Upstream,
    running_edge,
    running_upstream,
)
from tests.plugins.lua.stage import running_stage

from farebox_contract import imported_keys, keys

ROUTE: Final = "same"
OURS: Final = keys.KeyName("live", "4f7q2k8m1z", "9tz3m1aaaa")
OTHER: Final = keys.KeyName("test", "zzzzzzzzzz", "9tz3m1bbbb")
SECRETS: Final = ("q1W2e3R4t5Y6u7I8o9P0a1S2d3F4g5H6", "AbCdEfGhIjKlMnOpQrStUvWxYz012345")
KEY: Final = keys.compose("fbx", OURS, SECRETS[0])
OTHER_KEY: Final = keys.compose("fbx", OTHER, SECRETS[1])
IMPORTED: Final = "sk_live_" + "0f" * 32
CONF: Final[dict[str, Any]] = {
    "query_parameter": "k",
    "tiers": {"anonymous": {"limits": []}, "polite": {"limits": []}},
}
CREDENTIALS: Final[dict[str, dict[str, Any]]] = {
    f"{OURS.organization}/credentials/{OURS.key}": {"digest": keys.digest(KEY), "environment": "live"},
    f"{OTHER.organization}/credentials/{OTHER.key}": {
        "digest": keys.digest(OTHER_KEY),
        "environment": "test",
        "scopes": ["POST *"],
    },
    f"{imported_keys.CONSUMER}/credentials/{keys.digest(IMPORTED)}": {
        "digest": keys.digest(IMPORTED),
        "environment": "live",
        "organization": OURS.organization,
        "key": "imported01",
    },
}
VARIANTS: Final = 25
EXAMPLES: Final = 400
_VISIBLE: Final = bytes(range(33, 127)) + bytes(range(128, 256))
"""What both servers take for part of a header's value. Of the rest NUL is refused by both, below."""

keys_sent = st.sampled_from([KEY, OTHER_KEY, IMPORTED]).map(str.encode)
junk = st.binary(max_size=24).map(lambda raw: bytes(_VISIBLE[one % len(_VISIBLE)] for one in raw))


@st.composite
def _texts(draw: st.DrawFn) -> bytes:
    """A key as it is, or cut, padded, mixed with another's parts, changed, with a NUL, 10 kB long."""
    text = draw(keys_sent)
    place = draw(st.integers(0, len(text)))
    kind = draw(st.integers(0, 13))
    made = {
        0: text[:place],
        1: text[place:],
        2: text + draw(junk),
        3: draw(junk) + text,
        4: text[:place] + draw(junk) + text[place + 1 :],
        5: text.replace(OURS.organization.encode(), OTHER.organization.encode()),
        6: text.replace(OURS.key.encode(), OTHER.key.encode()).replace(b"live", b"test"),
        7: text[:place] + b"\0" + text[place:],
        8: text + b"x" * 10_000,
        9: text.swapcase(),
        10: text
        + draw(st.sampled_from([b" ", b"\t", b" \t ", b",", b";", b"\xa0", b"\xc2\xa0"]))
        + draw(junk),
        11: draw(junk),
        12: keys.compose("fbx", OTHER, SECRETS[0]).encode(),
    }
    return made.get(kind, text)


schemes = st.sampled_from(
    [b"Bearer ", b"bearer ", b"BEARER   ", b"Bearer\t", b"Bearer", b"Basic ", b"", b" Bearer "]
)
agents = st.sampled_from(
    [b"bot/1", b"bot (mailto:jo@example.org)", b"jo@example", b"", b"\xff@example.org a@b.cc"]
)


@st.composite
def _variants(draw: st.DrawFn) -> bytes:
    """A whole request: one to three headers that may matter, and perhaps a query."""
    lines = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.integers(0, 5))
        if kind <= 1:
            lines.append(b"Authorization:" + draw(schemes) + draw(_texts()))
        elif kind <= 3:
            name = draw(st.sampled_from([b"X-API-Key", b"x-api-key", b"X-Api-Key", b"X-API-Keys"]))
            lines.append(name + b": " + draw(_texts()))
        elif kind == 4:
            lines.append(b"User-Agent: " + draw(agents))
        else:
            name = draw(st.sampled_from([b"X-Farebox-Tier", b"X-Consumer-Username", b"x_farebox_tier"]))
            lines.append(name + b": keyed")
    query = draw(st.sampled_from([b""] * 5 + [b"?k=%s", b"?a=1&k=%s&b", b"?k=&k=%s", b"?K=%s", b"?k"]))
    if b"%s" in query:
        text = draw(_texts())
        query = query.replace(b"%s", b"".join(b"%%%02X" % one for one in text[:200]))
    head = b"GET /same/x" + query + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@dataclass(frozen=True, slots=True)
class Edges:
    """Both, running with the same accounts."""

    port: int
    other: Path | int
    """Where the Lua plugins are: a socket, or another gateway's port."""
    longest: int
    """A longer request is refused by one of the two before any plugin sees it, and is not compared."""


@pytest_asyncio.fixture
async def edges(tmp_path: Path) -> AsyncIterator[Edges]:
    """The embedded edge and the Lua plugins on one route each, with the same consumers and credentials."""
    names = (OURS.organization, OTHER.organization, imported_keys.CONSUMER)
    consumers: dict[str, Any] = {
        name: {"modifiedIndex": 1, "value": {"id": name, "username": name, "plugins": {}}} for name in names
    }
    for path, conf in CREDENTIALS.items():
        consumers[path] = {"value": {"plugins": {"farebox-auth": conf}}}
    async with (
        running_edge(tmp_path, IDENTITY_SECRETS="") as gateway,
        running_upstream() as upstream,
        ClientSession() as session,
    ):
        await _set_up(Admin(gateway, session), names, upstream)
        if FOREIGN_ADMIN_URL and FOREIGN_DATA_URL:
            foreign = Gateway(FOREIGN_ADMIN_URL, FOREIGN_DATA_URL.rstrip("/"), foreign=True)
            admin = Admin(foreign, session)
            await _set_up(admin, names, upstream)
            await admin.settled()
            yield Edges(gateway.data_port, foreign.data_port, 8_000)
            await admin.clean()
        else:
            with running_stage(route=ROUTE, conf=CONF, consumers=consumers) as stage:
                yield Edges(gateway.data_port, stage.socket, 16_000)


async def _set_up(admin: Admin, names: tuple[str, ...], upstream: Upstream) -> None:
    for name in names:
        await admin.put("/consumers", {"username": name, "plugins": {"farebox-auth": {"state": "active"}}})
    for path, conf in CREDENTIALS.items():
        await admin.put(f"/consumers/{path}", {"plugins": {"farebox-auth": conf}})
    await admin.put(
        f"/routes/{ROUTE}",
        {"uri": "/same/*", "plugins": {"farebox-auth": CONF}, "upstream": {"nodes": upstream.node}},
    )


async def _ask(edges: Edges, request: bytes, *, embedded: bool) -> bytes:
    where = edges.port if embedded else edges.other
    if isinstance(where, int):
        reader, writer = await asyncio.open_connection("127.0.0.1", where)
    else:
        reader, writer = await asyncio.open_unix_connection(str(where))
    try:
        writer.write(request)
        await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


_TOLD: Final = (
    "x-consumer-username",
    "x-credential-identifier",
    "x-farebox-tier",
    "x-farebox-environment",
    "x-api-key",
    "authorization",
)


def _body(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    whole = b""
    while True:
        size, _, rest = body.partition(b"\r\n")
        if not size or int(size, 16) == 0:
            return whole
        whole += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]


def _decision(answer: bytes) -> tuple[Any, ...]:
    """What was decided: refused with which code, or served as whom, and what the upstream got to see."""
    status = int(answer[9:12] or 400)
    if status in {400, 431}:
        return ("malformed",)
    body = json.loads(_body(answer).decode("utf-8", "surrogateescape"))
    if status != 200:
        return status, body["error"]["code"], body["error"]["details"].get("reason")
    # What else a client sends is passed on; bytes that are no UTF-8 not by both, which is not asked here.
    told = {
        name.lower(): value.encode("ascii", "ignore").decode().strip(" \t") for name, value in body["headers"]
    }
    return status, body["target"], *(told.get(name) for name in _TOLD)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(requests=st.lists(_variants(), min_size=VARIANTS, max_size=VARIANTS))
async def test_whatever_is_sent(edges: Edges, requests: list[bytes]) -> None:
    """For each variant both edges refuse with the same code, or serve the same caller in the same way."""
    requests = [request for request in requests if len(request) < edges.longest]
    asked = [_ask(edges, request, embedded=embedded) for request in requests for embedded in (True, False)]
    answers = await asyncio.gather(*asked)
    for index, request in enumerate(requests):
        embedded, lua = (_decision(answer) for answer in answers[2 * index : 2 * index + 2])
        assert embedded == lua, (request[:400], embedded, lua)
        if embedded[0] == 200 and embedded[4] == "keyed":
            assert KEY.encode() in request or IMPORTED.encode() in request or b"%" in request
