"""APISIX's own plugins that API products use, on any gateway that has them."""

import asyncio
import gzip
import re
from collections import Counter
from typing import Any

import brotli
import pytest
from aiohttp import ClientSession
from multidict import CIMultiDict
from tests.gateway.harness import Admin, Gateway, Upstream, enforced, unique
from tests.gateway.test_balancing import ask, backends, node, serve

TEXT = "a line that repeats itself;" * 40


async def _plugins(admin: Admin, client: ClientSession, upstream: Upstream, **plugins: Any) -> str:
    """Serve the upstream with plugins; return the address, below which is what the upstream has."""
    name = unique("s")
    rewriting = {"regex_uri": [f"^/{name}(/.*)$", "$1"]}
    route = {
        "uri": f"/{name}/*",
        "plugins": {"proxy-rewrite": rewriting, **plugins},
        "upstream": {"nodes": upstream.node},
    }
    await admin.put(f"/routes/{name}", route)
    url = f"{admin.gateway.data}/{name}"
    await _routed(client, f"{url}/status/204")
    return url


async def _routed(client: ClientSession, url: str) -> None:
    """Wait until a route is enforced: whatever answers, it is not the gateway's own 404."""
    for _ in range(400):
        async with client.get(url, allow_redirects=False) as response:
            if not re.search("Route Not Found|route_not_found", await response.text("latin-1")):
                return
        await asyncio.sleep(0.01)
    raise AssertionError("the route is not enforced")


async def _has(admin: Admin, plugin: str) -> bool:
    return plugin in (await admin.get("/plugins/list")).json


# -- traffic-split


async def test_a_share_goes_to_the_canary(admin: Admin, client: ClientSession) -> None:
    """Of ten requests one goes to the canary's upstream, the rest to the route's own."""
    async with backends("stable", "canary") as (stable, canary):
        name = unique("u")
        await admin.put(f"/upstreams/{name}", {"nodes": [node(canary.port)]})
        rules = [{"weighted_upstreams": [{"upstream_id": name, "weight": 1}, {"weight": 9}]}]
        await admin.settled()
        url = await serve(
            admin,
            client,
            {"nodes": [node(stable.port)]},
            plugins={"traffic-split": {"rules": rules}},
        )
        assert await ask(client, f"{url}/x", 20) == {"stable": 18, "canary": 2}
        refused = await admin.delete(f"/upstreams/{name}")
        assert refused.status == 400
        route = url.rpartition("/")[2]
        wanted = f"can not delete this upstream, plugin in route [{route}] is still using it now"
        assert refused.error == wanted


async def test_those_who_match_meet_the_new_version(admin: Admin, client: ClientSession) -> None:
    """A header or a consumer chooses the dark launch; the first rule that matches counts."""
    async with backends("stable", "dark", "inner") as (stable, dark, inner):
        name = unique("c")
        await admin.put("/consumers", {"username": name})
        await admin.put(f"/consumers/{name}/credentials/{name}", {"plugins": {"key-auth": {"key": name}}})
        rules = [
            {
                "match": [
                    {"vars": [["http_x_preview", "==", "yes"]]},
                    {"vars": [["consumer_name", "in", [name]]]},
                ],
                "weighted_upstreams": [{"upstream": {"nodes": [node(dark.port)]}}],
            },
            {
                "match": [{"vars": [["arg_tier", "~~", "^in"]]}],
                "weighted_upstreams": [{"upstream": {"nodes": [node(inner.port)]}}],
            },
        ]
        other = unique("c")
        await admin.put("/consumers", {"username": other})
        await admin.put(f"/consumers/{other}/credentials/{other}", {"plugins": {"key-auth": {"key": other}}})
        url = await serve(
            admin,
            client,
            {"nodes": [node(stable.port)]},
            plugins={"traffic-split": {"rules": rules}, "key-auth": {}},
        )
        await enforced(
            lambda: client.get(f"{url}/x", headers={"apikey": other}), lambda answer: answer.status == 200
        )
        for headers, query, wanted in (
            ({"apikey": other}, "", "stable"),
            ({"apikey": name}, "", "dark"),
            ({"apikey": other, "X-Preview": "yes"}, "?tier=inner", "dark"),
            ({"apikey": other}, "?tier=inner", "inner"),
        ):
            assert await ask(client, f"{url}/x{query}", 3, headers=headers) == {wanted: 3}


async def test_a_canary_without_its_upstream(admin: Admin, client: ClientSession) -> None:
    """An upstream that is not there is a failure that is seen, not a silent fall-back."""
    async with backends("stable") as (stable,):
        rules = [{"weighted_upstreams": [{"upstream_id": unique("gone"), "weight": 1}]}]
        url = await serve(
            admin, client, {"nodes": [node(stable.port)]}, plugins={"traffic-split": {"rules": rules}}
        )
        assert await ask(client, f"{url}/x", 2) == Counter({"500": 2})


# -- compression


@pytest.mark.parametrize("plugin", ["gzip", "brotli"])
async def test_compression(admin: Admin, client: ClientSession, upstream: Upstream, plugin: str) -> None:
    """What a client can read smaller it gets smaller, and whole; nobody else; and never what is short."""
    if not await _has(admin, plugin):
        pytest.skip(f"this gateway has no {plugin}")
    coding, decode = {"gzip": ("gzip", gzip.decompress), "brotli": ("br", brotli.decompress)}[plugin]
    conf = {"types": ["application/json"], "min_length": 500, "vary": True}
    url = await _plugins(admin, client, upstream, **{plugin: conf})
    sent = {"X-Long": TEXT, "Accept-Encoding": f"identity, {coding};q=0.5"}
    async with client.get(f"{url}/long", headers=sent) as response:
        assert response.headers["Content-Encoding"] == coding
        assert "Accept-Encoding" in response.headers["Vary"]
        assert "Content-Length" not in response.headers
        assert TEXT.encode() in decode(await response.read())
    for headers in ({"X-Long": TEXT}, {"X-Long": TEXT, "Accept-Encoding": f"{coding};q=0"}):
        async with client.get(f"{url}/long", headers={"Accept-Encoding": "", **headers}) as response:
            assert "Content-Encoding" not in response.headers
            assert TEXT in await response.text()
    async with client.get(f"{url}/status/200", headers={"Accept-Encoding": coding}) as response:
        assert "Content-Encoding" not in response.headers
        assert await response.text() == "as you wish"


# -- redirect


async def test_redirect(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """Another address, by a fixed text with variables or by a pattern, with the query where it is wanted."""
    for conf, target, wanted in (
        ({"uri": "/new?from=$arg_a", "ret_code": 301}, "/old?a=1", (301, "/new?from=1")),
        ({"uri": "/new", "append_query_string": True}, "/old?a=1", (302, "/new?a=1")),
        ({"regex_uri": ["^/[^/]+/v1/(.*)$", "/v2/$1"]}, "/v1/items", (302, "/v2/items")),
    ):
        url = await _plugins(admin, client, upstream, redirect=conf)
        async with client.get(url + target, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == wanted


async def test_to_https(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """Plain HTTP is sent to HTTPS: 301 for GET and HEAD, 308 for the rest, which keep method and body."""
    url = await _plugins(admin, client, upstream, redirect={"http_to_https": True})
    for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308)):
        async with client.request(method, f"{url}/x?a=1", allow_redirects=False) as response:
            assert response.status == status
            location = response.headers["Location"]
        assert location.startswith("https://127.0.0.1")
        assert location.endswith("/x?a=1")


# -- proxy-cache

CACHE = {"cache_strategy": "memory", "cache_zone": "memory_cache", "cache_key": ["$uri", "$args"]}


async def _status(client: ClientSession, url: str, method: str = "GET", **headers: str) -> str:
    async with client.request(method, url, headers=headers) as response:
        await response.read()
        return response.headers.get("Apisix-Cache-Status", str(response.status))


async def test_caching(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """The second equal request does not reach the upstream, another does; PURGE forgets."""
    conf = {**CACHE, "cache_bypass": ["$arg_fresh"], "no_cache": ["$http_x_private"]}
    url = await _plugins(admin, client, upstream, **{"proxy-cache": conf})
    page = f"{url}/page?{unique('q')}"
    assert [await _status(client, page) for _ in range(3)] == ["MISS", "HIT", "HIT"]
    assert len(upstream.seen) == 1
    async with client.get(page) as response:
        assert response.headers["Age"].isdigit()
        assert response.headers["X-Upstream"] == "echo"
        assert (await response.json())["method"] == "GET"
    assert await _status(client, f"{page}&other=1") == "MISS"
    assert await _status(client, f"{page}&fresh=1") == "BYPASS"
    assert await _status(client, page, "POST") == "MISS"
    assert [await _status(client, f"{page}&p=1", **{"X-Private": "1"}) for _ in range(2)] == ["MISS", "MISS"]
    assert await _status(client, page, "PURGE") == "200"
    assert await _status(client, page) == "MISS"
    assert await _status(client, f"{page}&never=1", "PURGE") == "404"


async def test_what_is_not_kept(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """Answers whose status is not listed are asked anew; with `cache_control` so is what says no lifetime."""
    url = await _plugins(admin, client, upstream, **{"proxy-cache": CACHE})
    assert [await _status(client, f"{url}/status/500") for _ in range(2)] == ["MISS", "MISS"]
    url = await _plugins(admin, client, upstream, **{"proxy-cache": {**CACHE, "cache_control": True}})
    assert [await _status(client, f"{url}/status/200") for _ in range(2)] == ["MISS", "MISS"]
    assert await _status(client, f"{url}/status/200", **{"Cache-Control": "no-cache"}) == "BYPASS"
    assert await _status(client, f"{url}/never", **{"Cache-Control": "only-if-cached"}) == "MISS"


async def test_consumers_do_not_share(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """What one consumer got is not given to another, unless the key is made so."""
    names = [unique("c") for _ in range(2)]
    for name in names:
        await admin.put("/consumers", {"username": name})
        await admin.put(f"/consumers/{name}/credentials/{name}", {"plugins": {"key-auth": {"key": name}}})
    for more, wanted in (
        ({}, ["MISS", "MISS", "HIT", "HIT"]),
        ({"cache_key": ["$consumer_name", "$uri"]}, ["MISS", "MISS", "HIT", "HIT"]),
        ({"consumer_isolation": False}, ["MISS", "HIT", "HIT", "HIT"]),
    ):
        plugins = {"proxy-cache": {**CACHE, **more}, "key-auth": {}}
        url = await _plugins(admin, client, upstream, **plugins)
        for name in names:
            await enforced(
                lambda name=name, url=url: client.get(f"{url}/status/500", headers={"apikey": name}),  # type: ignore[misc]
                lambda answer: answer.status == 500,
            )
        assert [await _status(client, f"{url}/page", apikey=name) for name in names * 2] == wanted


# -- response-rewrite, ip-restriction, request-id


async def test_response_headers(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """Headers are set, added and removed, status and body replaced where a condition is met."""
    headers = {
        "set": {"X-Set": "to $request_method", "X-Upstream": "hidden"},
        "add": ["X-Add: 1"],
        "remove": ["Content-Type"],
    }
    url = await _plugins(admin, client, upstream, **{"response-rewrite": {"headers": headers}})
    async with client.get(f"{url}/x") as response:
        assert response.headers["X-Set"] == "to GET"
        assert response.headers["X-Upstream"] == "hidden"
        assert response.headers["X-Add"] == "1"
        assert "Content-Type" not in response.headers
    conf = {"vars": [["status", "==", 500]], "status_code": 200, "body": "all is well"}
    url = await _plugins(admin, client, upstream, **{"response-rewrite": conf})
    async with client.get(f"{url}/status/500") as response:
        assert (response.status, await response.text()) == (200, "all is well")
    async with client.get(f"{url}/status/404") as response:
        assert (response.status, await response.text()) == (404, "as you wish")


async def test_addresses(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """An address outside the list, or inside the other, is refused with the message."""
    for conf, status in (
        ({"whitelist": ["10.0.0.0/8"]}, 403),
        ({"whitelist": ["10.0.0.0/8", "127.0.0.1"]}, 200),
        ({"blacklist": ["127.0.0.0/8"], "response_code": 404, "message": "no"}, 404),
        ({"blacklist": ["::1"]}, 200),
    ):
        url = await _plugins(admin, client, upstream, **{"ip-restriction": conf, "cors": {}})
        answer = await enforced(
            lambda url=url: client.get(f"{url}/status/200"),  # type: ignore[misc]
            lambda one: "Access-Control-Allow-Origin" in one.headers,
        )
        assert answer.status == status
        if status != 200:
            assert (await answer.json(content_type=None))["message"] in {
                "no",
                "Your IP address is not allowed",
            }


async def test_request_ids(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """A request without an id gets one, which the upstream sees and the client is told; its own is kept."""
    if not await _has(admin, "request-id"):
        pytest.skip("this gateway has no request-id")
    url = await _plugins(admin, client, upstream, **{"request-id": {}})
    async with client.get(f"{url}/x") as response:
        seen = CIMultiDict((await response.json())["headers"])
        assert seen["X-Request-Id"] == response.headers["X-Request-Id"]
    async with client.get(f"{url}/x", headers={"X-Request-Id": "mine"}) as response:
        assert response.headers["X-Request-Id"] == "mine"


@pytest.mark.parametrize(
    ("plugin", "conf", "words"),
    [
        (
            "traffic-split",
            {"rules": [{"match": [{"vars": ["a"]}]}]},
            "failed to validate the 'vars' expression: ",
        ),
        ("redirect", {}, "value should match only one schema, but matches none"),
        ("redirect", {"http_to_https": True, "append_query_string": True}, "only one of `http_to_https` and"),
        ("redirect", {"regex_uri": ["(", "x"]}, "invalid regex_uri ((, x), err:"),
        (
            "proxy-cache",
            {**CACHE, "cache_key": ["$request_method"]},
            "cache_key variable $request_method uns",
        ),
        (
            "proxy-cache",
            {"cache_strategy": "memory"},
            "invalid or empty cache_zone for cache_strategy: memory",
        ),
        ("proxy-cache", {**CACHE, "cache_zone": "nowhere"}, "cache_zone nowhere not found"),
        ("proxy-cache", {**CACHE, "cache_method": ["PUT"]}, "matches none of the enum values"),
        ("proxy-cache", {**CACHE, "cache_ttl": 0}, "expected 0 to be at least 1"),
        ("gzip", {"comp_level": 10}, "expected 10 to be at most 9"),
        ("response-rewrite", {"status_code": 100}, "expected 100 to be at least 200"),
        ("ip-restriction", {}, "value should match only one schema, but matches none"),
    ],
)
async def test_wrong_configurations(admin: Admin, plugin: str, conf: dict[str, Any], words: str) -> None:
    """A configuration that cannot work is refused when it is put, in APISIX's words."""
    refused = await admin.call("PUT", f"/routes/{unique('w')}", {"uri": "/x", "plugins": {plugin: conf}})
    assert refused.status == 400, refused.text
    assert f"failed to check the configuration of plugin {plugin} err: " in refused.error
    assert words in refused.error


async def test_compressed_hits(
    gateway: Gateway, admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """What the cache keeps is given in whatever coding each client reads."""
    del gateway
    plugins = {"proxy-cache": CACHE, "gzip": {"types": ["application/json"]}}
    url = await _plugins(admin, client, upstream, **plugins)
    assert await _status(client, f"{url}/p", **{"Accept-Encoding": "gzip"}) == "MISS"
    async with client.get(f"{url}/p", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Apisix-Cache-Status"] == "HIT"
        assert b'"method"' in gzip.decompress(await response.read())
    async with client.get(f"{url}/p", headers={"Accept-Encoding": "identity"}) as response:
        assert response.headers["Apisix-Cache-Status"] == "HIT"
        assert (await response.json())["method"] == "GET"
