"""What the translation of products makes, at a gateway: accepted, settled, and at work in its data plane.

Runs against the embedded gateway, or unchanged against an APISIX that FAREBOX_TEST_GATEWAY_* name.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from tests.gateway.harness import Admin, Upstream, running_upstream
from tests.integration.products.shop import Shop, open_shop
from tests.plugins.accounts import open_account, require_plugins

from farebox.products.offers import ProductSpec
from farebox.products.upstreams import UpstreamSpec

WHOLE_UPSTREAM: dict[str, Any] = {
    "scheme": "http",
    "balancing": {"algorithm": "chash", "hash_on": "header", "key": "X-Session"},
    "checks": {"active": {"path": "/status/200", "timeout": 0.5}, "passive": {"http_failures": 3}},
    "timeouts": {"connect": 1, "send": 2.5, "read": 3},
    "retries": 1,
    "retry_timeout": 2,
    "keepalive": {"size": 10, "idle_timeout": 5, "requests": 50},
    "pass_host": "rewrite",
    "host": "inner.example.com",
}
WHOLE_POLICIES: dict[str, Any] = {
    "cors": {"origins": ["https://app.example.com"], "credentials": True},
    "compression": {"min_length": 10},
    "plain_http": "redirect",
    "cache": {"seconds": 30},
    "tiers": {"anonymous": {"limits": [{"name": "minute", "requests": 5, "window": 60}]}},
    "query_parameter": "key",
}


@pytest_asyncio.fixture
async def shop(admin: Admin, client: ClientSession, upstream: Upstream) -> Shop:
    """A shop whose first organization has a key that is enforced."""
    await require_plugins(admin, "farebox-auth", "traffic-split", "gzip", "redirect", "proxy-cache")
    return await open_shop(admin, client, upstream)


@pytest_asyncio.fixture
async def other() -> AsyncIterator[Upstream]:
    """The server of the new version."""
    async with running_upstream() as server:
        yield server


@contextlib.asynccontextmanager
async def counting(body: str = "x") -> AsyncIterator[tuple[dict[str, int], Counter[str]]]:
    """Run a server that counts its requests by path and answers each with its number."""
    seen: Counter[str] = Counter()

    async def handle(request: web.Request) -> web.Response:
        seen[request.path] += 1
        return web.json_response({"number": seen[request.path], "body": body})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield {f"127.0.0.1:{runner.addresses[0][1]}": 1}, seen
    finally:
        await runner.cleanup()


async def test_everything_is_accepted_and_a_second_pass_writes_nothing(
    shop: Shop, upstream: Upstream, other: Upstream
) -> None:
    """Each resource with all it can say is taken by the Admin API, and compares equal when read again."""
    n = shop.name
    listed = (await shop.admin.get("/plugins/list")).json
    node = next(iter(upstream.node))
    release = {
        "upstream": f"{n}-new",
        "percentage": 5,
        "organizations": [f"org_{shop.account.organization}"],
        "header": {"name": "X-Beta", "value": "yes"},
    }
    whole = UpstreamSpec.model_validate(
        {"code": f"{n}-old", "nodes": [{"address": node, "priority": 1}], **WHOLE_UPSTREAM}
    )
    more = [
        UpstreamSpec.model_validate({"code": f"{n}-{index}", "nodes": [{"address": node}], "balancing": each})
        for index, each in enumerate(
            [
                {"algorithm": "least_conn"},
                {"algorithm": "ewma"},
                {"algorithm": "chash", "key": "remote_addr"},
                {"algorithm": "chash", "hash_on": "cookie", "key": "sid"},
                {"algorithm": "chash", "hash_on": "consumer"},
            ]
        )
    ]
    product = ProductSpec.model_validate(
        {"code": f"{n}-p", "name": "Produkt Ü", "upstream": f"{n}-old", "release": release, **WHOLE_POLICIES}
    )
    await shop.put(
        upstreams=[whole, UpstreamSpec.simple(f"{n}-new", other.node), *more],
        products=[product],
        routes=[
            {
                "code": f"{n}-a",
                "product": f"{n}-p",
                "paths": [f"/{n}/a/*"],
                "methods": ["GET"],
                "priority": 3,
            },
            {
                "code": f"{n}-b",
                "product": f"{n}-p",
                "paths": [f"/{n}/b"],
                "hosts": ["*.example.com"],
                "plain_http": "refuse" if "fault-injection" in listed else "allow",
                "compression": {"encodings": ["gzip"]},
                "rewrite": {"strip_prefix": f"/{n}", "add_prefix": "/v9"},
                "enabled": False,
            },
            {"code": f"{n}-c", "upstream": f"{n}-old", "paths": [f"/{n}/c"], "rewrite": {"path": "/one"}},
        ],
    )
    await shop.admin.settled()
    again = await shop.again()
    assert [str(step) for step in again.steps] == []


async def test_a_share_an_organization_and_a_header_get_the_new_version(
    shop: Shop, upstream: Upstream, other: Upstream
) -> None:
    """A share of the requests; all of a named organization's, whoever claims to be it; all with a header."""
    n = shop.name
    second = await open_account(shop.admin, upstream)
    base = {"paths": [f"/{n}/*"], "upstream": f"{n}-old", "rewrite": {"strip_prefix": f"/{n}"}}
    ups = [UpstreamSpec.simple(f"{n}-old", upstream.node), UpstreamSpec.simple(f"{n}-new", other.node)]

    async def release(**given: Any) -> None:
        given = {"upstream": f"{n}-new", **given}
        await shop.put(upstreams=ups, routes=[{"code": n, **base, "release": given}])

    async def share(**headers: str) -> float:
        upstream.seen.clear()
        other.seen.clear()
        for _ in range(40):
            assert (await shop.call(f"/{n}/x", **headers)).status == 200
        return len(other.seen) / 40

    await release(percentage=25)
    await shop.until(f"/{n}/x")
    assert await share() == 0.25
    await release(organizations=[second.organization], header={"name": "X-Beta", "value": "yes"})
    await shop.until(f"/{n}/x")
    for _ in range(200):
        if await share() == 0:
            break
    assert await share() == 0
    assert await share(**{"X-Consumer-Username": second.organization, "X-Beta": "no"}) == 0
    assert await share(**{"X-Beta": "yes"}) == 1
    theirs = {"Authorization": f"Bearer {second.key.text}"}
    assert await share(**theirs) == 1
    await release(percentage=100)
    for _ in range(200):
        if await share() == 1:
            break
    assert await share() == 1


async def test_preflight_is_answered_without_a_key_and_pages_may_read_limits(
    shop: Shop, upstream: Upstream
) -> None:
    """OPTIONS from an allowed origin gets its headers though the route takes GET alone; others get none."""
    n = shop.name
    origin = "https://app.example.com"
    await shop.put(
        upstreams=[UpstreamSpec.simple(n, upstream.node)],
        routes=[
            {"code": n, "upstream": n, "paths": [f"/{n}"], "methods": ["GET"], "cors": {"origins": [origin]}}
        ],
    )
    answer = await shop.until(f"/{n}", Origin=origin)
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    url = f"{shop.admin.gateway.data}/{n}"
    asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    async with shop.client.options(url, headers=asked) as preflight:
        assert preflight.status == 200
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    stranger = await shop.call(f"/{n}", Origin="https://evil.example.com")
    assert "Access-Control-Allow-Origin" not in stranger.headers
    assert upstream.seen
    assert all(each["method"] == "GET" for each in upstream.seen)


async def test_answers_are_compressed_as_the_caller_accepts(shop: Shop, upstream: Upstream) -> None:
    """gzip on demand, for the types and sizes named; a route's own choice stands against its product's."""
    n = shop.name
    product = ProductSpec.model_validate(
        {"code": n, "name": n, "upstream": n, "compression": {"min_length": 20, "encodings": ["gzip"]}}
    )
    await shop.put(
        upstreams=[UpstreamSpec.simple(n, upstream.node)],
        products=[product],
        routes=[
            {"code": f"{n}-a", "product": n, "paths": [f"/{n}/a"]},
            {
                "code": f"{n}-b",
                "product": n,
                "paths": [f"/{n}/b"],
                "compression": {"min_length": 100_000, "encodings": ["gzip"]},
            },
        ],
    )
    answer = await shop.until(f"/{n}/a", 200, **{"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
    plain = await shop.call(f"/{n}/a", **{"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    small = await shop.call(f"/{n}/b", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers


@pytest.mark.parametrize(("policy", "status"), [("redirect", 301), ("refuse", 403)])
async def test_plain_http_is_answered_before_a_key_is_looked_at(
    shop: Shop, upstream: Upstream, policy: str, status: int
) -> None:
    """Without TLS nothing reaches the upstream, with a key or without; the caller is told what to do."""
    n = shop.name
    if policy == "refuse":
        await require_plugins(shop.admin, "fault-injection")
    await shop.put(
        upstreams=[UpstreamSpec.simple(n, upstream.node)],
        routes=[{"code": n, "upstream": n, "paths": [f"/{n}"], "plain_http": policy}],
    )
    answer = await shop.until(f"/{n}", status, **{"X-Forwarded-Proto": "https"})
    async with shop.client.get(f"{shop.admin.gateway.data}/{n}?a=1", allow_redirects=False) as without:
        assert without.status == status
        if policy == "redirect":
            assert without.headers["Location"].startswith("https://")
            assert without.headers["Location"].endswith(f"/{n}?a=1")
        else:
            assert (await without.json())["error"]["code"] == "https_required"
    assert answer.status == status
    assert upstream.seen == []


async def test_a_cache_never_shows_one_organization_the_answer_of_another(
    shop: Shop, upstream: Upstream
) -> None:
    """Each organization has its own copy; a hit reaches no upstream; no Host header helps."""
    n = shop.name
    second = await open_account(shop.admin, upstream)
    async with counting() as (nodes, seen):
        await shop.put(
            upstreams=[UpstreamSpec.simple(n, nodes)],
            routes=[
                {
                    "code": n,
                    "upstream": n,
                    "paths": [f"/{n}/*"],
                    "cache": {"seconds": 60, "obey_cache_control": False},
                    "tiers": {"anonymous": {"limits": [{"name": "m", "requests": 1000, "window": 60}]}},
                }
            ],
        )
        await shop.until(f"/{n}/warm")
        path = f"/{n}/x"

        async def number(**headers: str) -> int:
            async with shop.client.get(f"{shop.admin.gateway.data}{path}", headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                return int((await answer.json())["number"])

        assert [await number(**shop.key) for _ in range(3)] == [1, 1, 1]
        theirs = {"Authorization": f"Bearer {second.key.text}"}
        assert [await number(**theirs) for _ in range(2)] == [2, 2]
        assert [await number() for _ in range(2)] == [3, 3]
        host = shop.admin.gateway.data.removeprefix("http://").partition(":")[0]
        forged = await number(Host=f"{shop.account.organization}{host}")
        assert forged == 4
        assert await number(**shop.key) == 1
        assert seen[path] == 4


async def test_a_node_that_fails_its_checks_gets_no_requests(shop: Shop, upstream: Upstream) -> None:
    """An active check takes a node out that answers 500, and its healthy neighbour serves everything."""
    n = shop.name
    sick: Counter[str] = Counter()

    async def ill(request: web.Request) -> web.Response:
        sick[request.path] += 1
        return web.Response(status=500)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", ill)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        spec = UpstreamSpec.model_validate(
            {
                "code": n,
                "nodes": [
                    {"address": next(iter(upstream.node))},
                    {"address": f"127.0.0.1:{runner.addresses[0][1]}"},
                ],
                "checks": {"active": {"path": "/status/200", "http_failures": 1}},
            }
        )
        await shop.put(upstreams=[spec], routes=[{"code": n, "upstream": n, "paths": [f"/{n}"]}])
        await shop.until(f"/{n}")
        for _ in range(100):
            statuses = [(await shop.call(f"/{n}")).status for _ in range(6)]
            if statuses == [200] * 6:
                break
            await asyncio.sleep(0.1)
        assert statuses == [200] * 6
        assert sick["/status/200"] >= 1
    finally:
        await runner.cleanup()


async def test_the_upstream_sees_the_path_that_was_sold(shop: Shop, upstream: Upstream) -> None:
    """A prefix goes and another comes; the query stays; a path that only begins alike is left alone."""
    n = shop.name
    await shop.put(
        upstreams=[UpstreamSpec.simple(n, upstream.node)],
        routes=[
            {
                "code": n,
                "upstream": n,
                "paths": [f"/{n}*"],
                "rewrite": {"strip_prefix": f"/{n}", "add_prefix": "/v9"},
            }
        ],
    )
    await shop.until(f"/{n}/a?b=c")
    await shop.call(f"/{n}")
    await shop.call(f"/{n}er/a")
    assert [each["target"] for each in upstream.seen][-3:] == ["/v9/a?b=c", "/v9/", f"/{n}er/a"]
