"""What any gateway does with a request between client and upstream."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiohttp import ClientSession, WSMsgType
from tests.gateway.harness import Admin, Gateway, Upstream, enforced, raw_exchange, unique


async def _route(admin: Admin, client: ClientSession, upstream: Upstream, **more: object) -> str:
    """Make a route `/{name}/*` to the upstream, rewritten to what follows the name; return the name."""
    name = unique("p")
    await admin.put(
        f"/routes/{name}",
        {
            "uri": f"/{name}/*",
            "plugins": {"proxy-rewrite": {"regex_uri": [f"^/{name}(/.*)$", "$1"]}},
            "upstream": {"nodes": upstream.node},
            **more,
        },
    )
    url = f"{admin.gateway.data}/{name}/echo"
    await enforced(lambda: client.get(url), lambda response: response.status == 200)
    upstream.seen.clear()
    return name


async def test_method_body_headers_and_query_arrive(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """The upstream sees the client's method, body, headers and query, and the forwarding headers."""
    name = await _route(admin, client, upstream)
    async with client.put(
        f"{admin.gateway.data}/{name}/a/b?x=1&y=%20z", data=b"hello", headers={"X-Own": "kept"}
    ) as response:
        seen = await response.json()
        assert response.headers["X-Upstream"] == "echo"
    headers = {key.lower(): value for key, value in seen["headers"]}
    assert (seen["method"], seen["target"], seen["body"]) == ("PUT", "/a/b?x=1&y=%20z", "hello")
    assert headers["x-own"] == "kept"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["host"] == admin.gateway.data.removeprefix("http://")


@pytest.mark.parametrize("status", [200, 201, 204, 301, 304, 400, 404, 418, 500, 503])
async def test_statuses_pass(admin: Admin, client: ClientSession, upstream: Upstream, status: int) -> None:
    """Whatever the upstream says is the answer."""
    name = await _route(admin, client, upstream)
    async with client.get(f"{admin.gateway.data}/{name}/status/{status}", allow_redirects=False) as response:
        await response.read()
        assert response.status == status


async def test_header_bytes_arrive_as_they_were_sent(
    admin: Admin, gateway: Gateway, client: ClientSession, upstream: Upstream
) -> None:
    """Latin-1, half a letter of UTF-8 and whole ones reach the upstream, beside headers of plain ASCII."""
    name = await _route(admin, client, upstream)
    odd = {
        "X-Latin": b"caf\xe9 \xff\xfe",
        "X-Half": b"\xe2\x82",
        "X-Whole": "Zoë €".encode(),
        "X-Plain": b"ok",
    }
    head = b"".join(b"%b: %b\r\n" % (key.encode(), value) for key, value in odd.items())
    request = b"GET /%b/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%b\r\n" % (name.encode(), head)
    answer = await raw_exchange(gateway.data_port, request)
    assert answer.startswith(b"HTTP/1.1 200")
    seen = dict(upstream.seen[-1]["headers"])
    assert {key: seen[key].encode("utf-8", "surrogateescape") for key in odd} == odd


@pytest.mark.parametrize(
    ("asked", "method", "body"), [("GET", "POST", True), ("GET", "HEAD", False), ("HEAD", "GET", False)]
)
async def test_the_upstream_s_method_may_be_another(
    admin: Admin, client: ClientSession, upstream: Upstream, asked: str, method: str, *, body: bool
) -> None:
    """proxy-rewrite names the method; the answer is framed for the client's, and the connection goes on."""
    name = await _route(admin, client, upstream, plugins={"proxy-rewrite": {"method": method}})
    for _ in range(3):
        async with client.request(asked, f"{admin.gateway.data}/{name}/echo") as answer:
            assert answer.status == 200
            assert bool(await answer.read()) is body
    assert {seen["method"] for seen in upstream.seen} == {method}


async def test_hop_by_hop_headers_stay_on_their_hop(
    admin: Admin, gateway: Gateway, client: ClientSession, upstream: Upstream
) -> None:
    """Connection, Keep-Alive, TE and Upgrade are not forwarded."""
    name = await _route(admin, client, upstream)
    request = (
        f"GET /{name}/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nKeep-Alive: timeout=5\r\n"
        "TE: trailers\r\nUpgrade: h2c\r\n\r\n"
    )
    answer = await raw_exchange(gateway.data_port, request.encode())
    assert answer.startswith(b"HTTP/1.1 200")
    seen = {key.lower() for key, _ in upstream.seen[-1]["headers"]}
    assert not seen & {"keep-alive", "te", "upgrade"}


async def test_the_answer_streams(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """The first part of an answer is there before the upstream has made the second."""
    name = await _route(admin, client, upstream)
    gate = unique("gate")
    async with client.get(f"{admin.gateway.data}/{name}/stream/{gate}") as response:
        assert await response.content.readany() == b"first"
        upstream.gate(gate).set()
        assert await response.content.read() == b"secondthird"


async def test_a_large_body_arrives_whole(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """Eight megabytes in chunks of unknown number arrive, none lost."""
    name = await _route(admin, client, upstream)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(128):
            yield b"x" * 65_536

    async with client.post(f"{admin.gateway.data}/{name}/x", data=body()) as response:
        assert (await response.json())["length"] == 128 * 65_536


async def test_expect_100_continue(
    admin: Admin, gateway: Gateway, client: ClientSession, upstream: Upstream
) -> None:
    """A client that waits for 100 gets it and then its answer."""
    name = await _route(admin, client, upstream)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.data_port)
    writer.write(
        f"POST /{name}/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    writer.write(b"body")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert upstream.seen[-1]["body"] == "body"


async def test_websocket(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """A route with `enable_websocket` carries a WebSocket both ways."""
    name = await _route(admin, client, upstream, enable_websocket=True)
    async with client.ws_connect(f"{admin.gateway.data}/{name}/ws") as socket:
        for number in range(20):
            await socket.send_str(f"hello {number}")
            assert (await socket.receive_str()) == f"HELLO {number}"
        big = bytes(range(256)) * 2000
        await socket.send_bytes(big)
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.BINARY, big[::-1])


async def test_an_upstream_that_is_not_there(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """Nobody listening is 502."""
    name = await _route(admin, client, upstream)
    await admin.put(f"/routes/{name}", {"uri": f"/{name}/*", "upstream": {"nodes": {"127.0.0.1:1": 1}}})
    response = await enforced(
        lambda: client.get(f"{admin.gateway.data}/{name}/x"), lambda answer: answer.status != 200
    )
    assert response.status == 502


async def test_an_upstream_that_says_nothing(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """No answer within the read timeout is 504."""
    name = await _route(admin, client, upstream, timeout={"connect": 1, "send": 1, "read": 0.2})
    async with client.get(f"{admin.gateway.data}/{name}/gated/{unique('never')}") as response:
        assert response.status == 504


async def test_an_upstream_that_hangs_up(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """A connection closed instead of an answer is 502."""
    name = await _route(admin, client, upstream)
    async with client.post(f"{admin.gateway.data}/{name}/broken/off") as response:
        assert response.status == 502


async def test_another_node_is_tried_when_one_refuses(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """A node that cannot be connected to costs the client nothing, POST included: nothing was sent."""
    name = unique("p")
    nodes = {"127.0.0.1:1": 1, **upstream.node}
    await admin.put(f"/routes/{name}", {"uri": f"/{name}", "upstream": {"nodes": nodes}})
    url = f"{admin.gateway.data}/{name}"
    await enforced(lambda: client.post(url, data=b"x"), lambda response: response.status == 200)
    for _ in range(10):
        async with client.post(url, data=b"body") as response:
            assert (await response.json())["body"] == "body"


async def test_pass_host(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """The upstream gets the client's Host, its own address, or another name, as it asks."""
    for upstream_value, wanted in (
        ({"pass_host": "node"}, f"127.0.0.1:{upstream.port}"),
        ({"pass_host": "rewrite", "upstream_host": "inner.example"}, "inner.example"),
    ):
        name = unique("p")
        await admin.put(
            f"/routes/{name}", {"uri": f"/{name}", "upstream": {"nodes": upstream.node, **upstream_value}}
        )
        response = await enforced(
            partial(client.get, f"{admin.gateway.data}/{name}"), lambda answer: answer.status == 200
        )
        seen = json.loads(await response.text())
        assert dict(seen["headers"])["Host"] == wanted


async def test_routes_by_path_host_method_and_priority(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """Exact before prefix, long before short, a host's before any host's, high priority before low."""
    base = unique("r")

    async def add(what: str, **match: object) -> None:
        await admin.put(
            f"/routes/{base}{what}",
            {
                **match,
                "upstream": {"nodes": upstream.node},
                "plugins": {"proxy-rewrite": {"headers": {"set": {"X-Route": what}}}},
            },
        )

    await add("prefix", uri=f"/{base}/*")
    await add("longer", uris=[f"/{base}/a/*", f"/{base}/b/*"])
    await add("exact", uri=f"/{base}/a/x")
    await add("host", uri=f"/{base}/*", hosts=["h.example"])
    await add("wild", uri=f"/{base}/*", hosts=["*.w.example"])
    await add("low", uri=f"/{base}/p", methods=["GET", "POST"])
    await add("high", uri=f"/{base}/p", methods=["POST"], priority=10)
    await add("off", uri=f"/{base}/off", status=0)

    async def goes(path: str, method: str = "GET", host: str = "any.example") -> str:
        async with client.request(
            method, f"{admin.gateway.data}/{base}{path}", headers={"Host": host}
        ) as response:
            assert response.status == 200, await response.text()
            headers: dict[str, str] = dict((await response.json())["headers"])
            return headers["X-Route"]

    await enforced(
        lambda: client.get(f"{admin.gateway.data}/{base}/p"), lambda response: response.status == 200
    )
    await enforced(
        lambda: client.post(f"{admin.gateway.data}/{base}/p"),
        lambda response: response.status == 200 and b'"high"' in (response._body or b""),
    )
    assert await goes("/c") == "prefix"
    assert await goes("/a/y") == "longer"
    assert await goes("/b/y") == "longer"
    assert await goes("/a/x") == "exact"
    assert await goes("/a/%78") == "exact"
    assert await goes("/z/../a/x") == "exact"
    assert await goes("/c", host="h.example") == "host"
    assert await goes("/c", host="H.example:80") == "host"
    assert await goes("/c", host="x.w.example") == "wild"
    assert await goes("/p") == "low"
    assert await goes("/p", "POST") == "high"
    assert await goes("/off") == "prefix"


async def test_weights(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """A node of weight 0 gets nothing."""
    name = unique("p")
    nodes = {"127.0.0.1:1": 0, **upstream.node}
    await admin.put(f"/routes/{name}", {"uri": f"/{name}", "upstream": {"nodes": nodes, "retries": 0}})
    url = f"{admin.gateway.data}/{name}"
    await enforced(lambda: client.get(url), lambda response: response.status == 200)
    for _ in range(10):
        async with client.get(url) as response:
            assert response.status == 200


SMUGGLING = {
    "length and chunked": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "a length that is none": b"Content-Length: +4\r\n\r\nabcd",
    "a strange coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is none": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 4\r\n\r\nabcd",
}


@pytest.mark.parametrize("case", SMUGGLING)
async def test_what_two_servers_could_read_differently_is_refused(
    admin: Admin, gateway: Gateway, client: ClientSession, upstream: Upstream, case: str
) -> None:
    """A request whose end is ambiguous never becomes two requests at the upstream."""
    name = await _route(admin, client, upstream)
    request = f"POST /{name}/x HTTP/1.1\r\nHost: h\r\n".encode() + SMUGGLING[case]
    answer = await asyncio.wait_for(raw_exchange(gateway.data_port, request + b"\r\n\r\n"), 20)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")) or (gateway.foreign and b"200" in answer)
    assert answer.count(b"HTTP/1.1") <= 2
    assert not any("smuggled" in seen["target"] for seen in upstream.seen)


async def test_pipelined_requests_are_answered_in_order(
    admin: Admin, gateway: Gateway, client: ClientSession, upstream: Upstream
) -> None:
    """Two requests in one packet get two answers."""
    name = await _route(admin, client, upstream)
    one = f"GET /{name}/one HTTP/1.1\r\nHost: h\r\n\r\n"
    two = f"GET /{name}/two HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answer = await raw_exchange(gateway.data_port, (one + two).encode())
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b'"/one"') < answer.index(b'"/two"')


async def test_http_1_0(admin: Admin, gateway: Gateway, client: ClientSession, upstream: Upstream) -> None:
    """An HTTP/1.0 client gets a body that ends with the connection, never chunks."""
    name = await _route(admin, client, upstream)
    gate = unique("gate")
    upstream.gate(gate).set()
    request = f"GET /{name}/stream/{gate} HTTP/1.0\r\nHost: h\r\n\r\n"
    answer = await raw_exchange(gateway.data_port, request.encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert body == b"firstsecondthird"
