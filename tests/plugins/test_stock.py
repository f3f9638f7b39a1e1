"""The stock plugins that the embedded gateway has, as APISIX 3.18 behaves."""

import json
from functools import partial

import pytest
from aiohttp import ClientSession
from tests.gateway.harness import Admin, Upstream, enforced, unique


async def _serve(admin: Admin, upstream: Upstream, plugins: dict[str, object]) -> str:
    name = unique("s")
    await admin.put(
        f"/routes/{name}", {"uri": f"/{name}*", "plugins": plugins, "upstream": {"nodes": upstream.node}}
    )
    return f"{admin.gateway.data}/{name}"


async def _key_auth(admin: Admin, key: str, **more: object) -> str:
    name = unique("c")
    await admin.put("/consumers", {"username": name, **more})
    await admin.put(f"/consumers/{name}/credentials/k1", {"plugins": {"key-auth": {"key": key}}})
    return name


async def test_key_auth(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """A key in header or query is taken, the header first; the upstream is told whose it is."""
    key = unique("key")
    name = await _key_auth(admin, key)
    url = await _serve(admin, upstream, {"key-auth": {}})
    await enforced(lambda: client.get(url, headers={"apikey": key}), lambda response: response.status == 200)
    async with client.get(f"{url}?apikey={key}") as response:
        assert response.status == 200
        seen = await response.json()
    headers = {one.lower(): value for one, value in seen["headers"]}
    assert (headers["x-consumer-username"], headers["x-credential-identifier"]) == (name, "k1")
    assert key in seen["target"]
    for sent, words in (({}, "Missing API key in request"), ({"apikey": "no"}, "Invalid API key in request")):
        async with client.get(url, headers=sent) as response:
            assert response.status == 401
            assert json.loads(await response.text()) == {"message": words}
            assert response.headers["WWW-Authenticate"] == 'apikey realm="key"'
            assert response.headers["Content-Type"].startswith("text/plain")


async def test_key_auth_hides_credentials(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """With `hide_credentials` the upstream does not see the key."""
    key = unique("key")
    await _key_auth(admin, key)
    url = await _serve(admin, upstream, {"key-auth": {"hide_credentials": True, "header": "X-Own"}})
    response = await enforced(
        lambda: client.get(url, headers={"X-Own": key}), lambda answer: answer.status == 200
    )
    assert key not in await response.text()


async def test_key_auth_anonymous(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """A missing and a wrong key become the anonymous consumer."""
    name = unique("c")
    await admin.put("/consumers", {"username": name})
    url = await _serve(admin, upstream, {"key-auth": {"anonymous_consumer": name}})
    for headers in ({}, {"apikey": "wrong"}):
        response = await enforced(
            partial(client.get, url, headers=headers), lambda answer: answer.status == 200
        )
        seen = {one.lower(): value for one, value in json.loads(await response.text())["headers"]}
        assert seen["x-consumer-username"] == name


async def test_a_deleted_key(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """A deleted credential's key is unknown."""
    key = unique("key")
    name = await _key_auth(admin, key)
    url = await _serve(admin, upstream, {"key-auth": {}})
    await enforced(lambda: client.get(url, headers={"apikey": key}), lambda response: response.status == 200)
    await admin.delete(f"/consumers/{name}/credentials/k1")
    await enforced(lambda: client.get(url, headers={"apikey": key}), lambda response: response.status == 401)


async def test_limit_count(admin: Admin, client: ClientSession, upstream: Upstream) -> None:
    """Requests beyond the count get the code and message of the route, with APISIX's three headers."""
    conf = {"count": 2, "time_window": 600, "rejected_code": 429, "rejected_msg": "quota exceeded"}
    url = await _serve(admin, upstream, {"limit-count": conf})
    first = await enforced(lambda: client.get(url), lambda response: response.status == 200)
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("2", "1")
    async with client.get(url) as response:
        assert response.status == 200
    async with client.get(url) as response:
        assert response.status == 429
        assert json.loads(await response.text()) == {"error_msg": "quota exceeded"}
        assert 0 < float(response.headers["X-RateLimit-Reset"]) <= 600
        assert "Retry-After" not in response.headers


async def test_limit_count_refuses_with_503_and_a_page(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """Without a message the refusal is a page, its default code 503."""
    url = await _serve(admin, upstream, {"limit-count": {"count": 1, "time_window": 600}})
    await enforced(lambda: client.get(url), lambda response: response.status == 503)
    async with client.get(url) as response:
        assert response.headers["Content-Type"].startswith("text/html")


async def test_limit_count_of_a_group_is_each_consumer_s(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """In a consumer group, counted by name, every consumer has its own; a consumer's conf overrides it."""
    group = unique("g")
    conf = {"count": 2, "time_window": 600, "rejected_code": 429, "key": "consumer_name"}
    await admin.put(f"/consumer_groups/{group}", {"plugins": {"limit-count": conf}})
    keys = [unique("key") for _ in range(3)]
    for key in keys[:2]:
        await _key_auth(admin, key, group_id=group)
    await _key_auth(admin, keys[2], group_id=group, plugins={"limit-count": {**conf, "count": 4}})
    url = await _serve(admin, upstream, {"key-auth": {}})
    counts = []
    for key in keys:
        await enforced(partial(client.get, url, headers={"apikey": key}), lambda answer: answer.status == 429)
        async with client.get(url, headers={"apikey": key}) as response:
            counts.append(response.headers["X-RateLimit-Limit"])
    assert counts == ["2", "2", "4"]


@pytest.mark.parametrize(
    ("conf", "origin", "allowed"),
    [
        ({}, "https://a.example", "*"),
        ({"allow_origins": "**"}, "https://a.example", "https://a.example"),
        ({"allow_origins": "https://a.example,https://b.example"}, "https://b.example", "https://b.example"),
        ({"allow_origins": "https://a.example,https://b.example"}, "https://c.example", None),
        ({"allow_origins_by_regex": [r".*\.test\.com$"]}, "https://a.test.com", "https://a.test.com"),
        ({"allow_origins_by_regex": [r".*\.test\.com$"]}, "https://a.test.org", None),
    ],
)
async def test_cors(
    admin: Admin,
    client: ClientSession,
    upstream: Upstream,
    conf: dict[str, object],
    origin: str,
    allowed: str | None,
) -> None:
    """Allowed origins are told so, others are told nothing; a preflight is answered by the gateway."""
    url = await _serve(admin, upstream, {"cors": conf})
    response = await enforced(
        lambda: client.get(url, headers={"Origin": origin}), lambda answer: answer.status == 200
    )
    assert response.headers.get("Access-Control-Allow-Origin") == allowed
    before = len(upstream.seen)
    async with client.options(url, headers={"Origin": origin}) as preflight:
        assert preflight.status == 200
        assert preflight.headers.get("Access-Control-Allow-Origin") == allowed
        if allowed:
            assert preflight.headers["Access-Control-Max-Age"] == "5"
            assert preflight.headers["Access-Control-Allow-Methods"] == "*"
    assert len(upstream.seen) == before


@pytest.mark.parametrize(
    ("conf", "sent", "target"),
    [
        ({"uri": "/fixed"}, "/x?a=1", "/fixed?a=1"),
        ({"uri": "/fixed?b=2"}, "/x?a=1", "/fixed?b=2&a=1"),
        ({"regex_uri": ["^/[^/]*/user/(.*)/(.*)$", "/u/$2/$1"]}, "/user/one/two?q=1", "/u/two/one?q=1"),
        ({"regex_uri": ["^/nomatch$", "/no", "/item/(\\d+)$", "/i/$1"]}, "/item/42", None),
        ({"regex_uri": ["^/[^/]*/a b$", "/s p"]}, "/a%20b", "/s%20p"),
    ],
)
async def test_proxy_rewrite_of_the_path(
    admin: Admin,
    client: ClientSession,
    upstream: Upstream,
    conf: dict[str, object],
    sent: str,
    target: str | None,
) -> None:
    """`uri` and `regex_uri` set the upstream's path, encoded, the query kept."""
    url = await _serve(admin, upstream, {"proxy-rewrite": conf})
    response = await enforced(lambda: client.get(url + sent), lambda answer: answer.status == 200)
    seen = json.loads(await response.text())["target"]
    if target is None:
        name = url.rpartition("/")[2]
        target = f"/{name}/i/42"
    assert seen == target


async def test_proxy_rewrite_of_headers_and_host(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """Headers are set, added and removed, with variables; the host is replaced."""
    conf = {
        "host": "inner.example",
        "headers": {
            "set": {"X-Set": "v-$remote_addr"},
            "add": {"X-Add": "more"},
            "remove": ["X-Gone"],
        },
    }
    url = await _serve(admin, upstream, {"proxy-rewrite": conf})
    sent = {"X-Set": "old", "X-Add": "own", "X-Gone": "x"}
    response = await enforced(lambda: client.get(url, headers=sent), lambda answer: answer.status == 200)
    seen = json.loads(await response.text())["headers"]
    assert ["Host", "inner.example"] in seen
    assert [value for name, value in seen if name.lower() == "x-set"] == ["v-127.0.0.1"]
    assert [value for name, value in seen if name.lower() == "x-add"] == ["own", "more"]
    assert not [value for name, value in seen if name.lower() == "x-gone"]
