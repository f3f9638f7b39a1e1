"""Each request leaves one usage line, whoever answered it and however often an upstream was asked."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from tests.gateway.harness import Admin, Upstream, enforced, unique
from tests.gateway.test_balancing import backends, closed_port, node
from tests.plugins.accounts import Account, open_account, require_plugins, this_month

from farebox_contract import usage_line

Lines = Callable[[str], Awaitable[list[usage_line.UsageLine]]]
OURS = {"farebox-auth": {}, "farebox-limit": {}, "farebox-meter": {"units": 3}}
CACHE = {
    "cache_strategy": "memory",
    "cache_zone": "memory_cache",
    "cache_control": False,
    "_meta": {"priority": 990},
}


@pytest_asyncio.fixture
async def account(admin: Admin, upstream: Upstream) -> Account:
    """An organization with a key, at a gateway whose usage log can be read."""
    if not admin.gateway.log_is_known:
        pytest.skip("FAREBOX_TEST_GATEWAY_USAGE_LOG does not say where this gateway's usage log is")
    await require_plugins(admin, *OURS)
    return await open_account(admin, upstream)


@pytest.fixture
def lines(account: Account) -> Lines:
    """What the log says of the requests to a path, once it says all of them."""

    async def read(path: str) -> list[usage_line.UsageLine]:
        gateway = account.admin.gateway
        await gateway.written(account.session)
        mine = [raw for raw in gateway.raw_lines() if path.encode() in raw]
        return [line for line in map(usage_line.decode, mine) if line.path == path]

    return read


async def _serve(account: Account, upstream: dict[str, Any], **plugins: Any) -> str:
    """Serve an upstream with plugins; return the route's path, to which a test adds what it asks for."""
    first, after = unique("l"), unique("l")
    for name, own, nodes in (
        (first, plugins, upstream),
        (after, {}, {"nodes": account.upstream.node}),
    ):
        route = {"uris": [f"/{name}", f"/{name}/*"], "plugins": own, "upstream": nodes}
        await account.admin.put(f"/routes/{name}", route)
    base = account.admin.gateway.data
    await enforced(lambda: account.session.get(f"{base}/{after}"), lambda answer: answer.status == 200)
    return f"/{first}"


async def _ask(account: Account, path: str, *, method: str = "GET", **headers: str) -> int:
    url = f"{account.admin.gateway.data}{path}"
    async with account.session.request(method, url, headers=headers, allow_redirects=False) as answer:
        await answer.read()
        return answer.status


def _key(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.key.text}"}


async def test_a_hit_is_a_line_like_a_miss(account: Account, lines: Lines) -> None:
    """What the cache answers is one line each, billed to the caller with the route's units."""
    path = await _serve(account, {"nodes": account.upstream.node}, **OURS, **{"proxy-cache": CACHE})
    account.upstream.seen.clear()
    for _ in range(3):
        assert await _ask(account, f"{path}/page", **_key(account)) == 200
    assert len(account.upstream.seen) == 1
    found = await lines(f"{path}/page")
    assert [(line.org, line.outcome, line.units) for line in found] == [
        (account.organization, "served", 3)
    ] * 3
    assert [line.up_us is None for line in found] == [False, True, True]


async def test_a_hit_takes_from_the_limit_and_a_refused_one_is_a_line(account: Account, lines: Lines) -> None:
    """Behind the limit the cache gives no more than the plan: the rest are lines of refusals."""
    group = unique("g")
    plan = {"limits": [{"name": "day", "requests": 2, "window": 86400}]}
    await account.admin.put(f"/consumer_groups/{group}", {"plugins": {"farebox-limit": plan}})
    await account.put_consumer(group=group, farebox_limit={"subscription": "s", "periods": this_month()})
    path = await _serve(account, {"nodes": account.upstream.node}, **OURS, **{"proxy-cache": CACHE})
    assert [await _ask(account, f"{path}/page", **_key(account)) for _ in range(4)] == [200, 200, 429, 429]
    found = await lines(f"{path}/page")
    assert [line.outcome for line in found] == ["served", "served", "rate_limited", "rate_limited"]
    assert {line.org for line in found} == {account.organization}


@pytest.mark.parametrize(
    ("plugin", "conf", "status"),
    [
        ("redirect", {"http_to_https": True, "_meta": {"priority": 3900}}, 301),
        ("redirect", {"uri": "/elsewhere", "_meta": {"priority": 3900}}, 302),
        ("fault-injection", {"abort": {"http_status": 403, "body": "no"}}, 403),
    ],
)
async def test_who_is_turned_away_at_the_door_is_a_line_of_nobody(
    account: Account, lines: Lines, plugin: str, conf: dict[str, Any], status: int
) -> None:
    """Redirected or refused before a key is looked at: one line each, without an organization to bill."""
    path = await _serve(account, {"nodes": account.upstream.node}, **OURS, **{plugin: conf})
    for _ in range(2):
        assert await _ask(account, f"{path}/x", **_key(account)) == status
    found = await lines(f"{path}/x")
    assert [(line.status, line.org, line.up_us) for line in found] == [(status, None, None)] * 2


async def test_a_preflight_is_a_line_of_nobody(account: Account, lines: Lines) -> None:
    """A page's preflight has no key: one line without an organization, and another for its request."""
    cors = {"allow_origins": "https://app.example.com", "allow_headers": "Authorization"}
    path = await _serve(account, {"nodes": account.upstream.node}, **OURS, cors=cors)
    page = {"Origin": "https://app.example.com"}
    asks = {**page, "Access-Control-Request-Method": "GET"}
    assert await _ask(account, f"{path}/x", method="OPTIONS", **asks) == 200
    assert await _ask(account, f"{path}/x", **page, **_key(account)) == 200
    found = await lines(f"{path}/x")
    assert [(line.method, line.org) for line in found] == [
        ("OPTIONS", None),
        ("GET", account.organization),
    ]


async def test_wrong_and_missing_keys_are_lines_of_nobody(account: Account, lines: Lines) -> None:
    """Who is not known is not named, whatever the request claims."""
    path = await _serve(account, {"nodes": account.upstream.node}, **OURS)
    claim = {"X-Consumer-Username": account.organization}
    for headers in ({}, claim, {**claim, "Authorization": "Bearer nonsense"}):
        assert await _ask(account, f"{path}/x", **headers) == 401
    found = await lines(f"{path}/x")
    assert [(line.org, line.key, line.outcome) for line in found] == [(None, None, "unauthorized")] * 3


async def test_a_retried_request_is_one_line(account: Account, lines: Lines) -> None:
    """However many nodes were tried, the caller asked once; if all failed that is one line too."""
    async with backends("alive") as (alive,):
        nodes = [node(closed_port()), node(alive.port)]
        path = await _serve(account, {"nodes": nodes, "retries": 1}, **OURS)
        statuses = [await _ask(account, f"{path}/x", **_key(account)) for _ in range(6)]
        assert statuses == [200] * 6
        found = await lines(f"{path}/x")
        assert [(line.outcome, line.units) for line in found] == [("served", 3)] * 6
    path = await _serve(account, {"nodes": [node(closed_port()), node(closed_port())], "retries": 1}, **OURS)
    assert await _ask(account, f"{path}/x", **_key(account)) == 502
    (line,) = await lines(f"{path}/x")
    assert (line.status, line.outcome, line.org) == (502, "upstream_error", account.organization)


async def test_a_split_request_is_one_line(account: Account, lines: Lines) -> None:
    """Requests of a canary and of the stable version are lines alike, of the same route."""
    async with backends("stable", "canary") as (stable, canary):
        rules = [
            {
                "weighted_upstreams": [
                    {"upstream": {"nodes": [node(canary.port)]}, "weight": 1},
                    {"weight": 1},
                ]
            }
        ]
        split = {"traffic-split": {"rules": rules}}
        path = await _serve(account, {"nodes": [node(stable.port)]}, **OURS, **split)
        assert [await _ask(account, f"{path}/x", **_key(account)) for _ in range(6)] == [200] * 6
        assert len(stable.seen) == len(canary.seen) == 3
    found = await lines(f"{path}/x")
    assert [(line.route, line.outcome, line.units) for line in found] == [(path.strip("/"), "served", 3)] * 6


async def test_a_rewritten_request_is_logged_as_it_was_asked(account: Account, lines: Lines) -> None:
    """Path and method in the line are the caller's, not those that the upstream saw."""
    rewrite = {"uri": "/inner", "method": "POST"}
    path = await _serve(account, {"nodes": account.upstream.node}, **OURS, **{"proxy-rewrite": rewrite})
    account.upstream.seen.clear()
    assert await _ask(account, f"{path}/x?secret=1", **_key(account)) == 200
    assert [(seen["method"], seen["target"]) for seen in account.upstream.seen] == [
        ("POST", "/inner?secret=1")
    ]
    (line,) = await lines(f"{path}/x")
    assert (line.method, line.status) == ("GET", 200)
