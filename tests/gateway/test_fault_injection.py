"""`fault-injection`, and the order in which plugins run where `_meta.priority` says another."""

from collections import Counter
from typing import Any

import pytest
from aiohttp import ClientSession
from tests.gateway.harness import Admin, Upstream, enforced, unique

LIMIT = {"count": 2, "time_window": 600, "rejected_code": 429, "rejected_msg": "enough"}
CACHE = {"cache_strategy": "memory", "cache_zone": "memory_cache", "cache_control": False}


async def _serve(admin: Admin, client: ClientSession, upstream: Upstream, **plugins: Any) -> str:
    """Serve the upstream with plugins, and wait until a route written after it is enforced."""
    for name, uri, own in (((first := unique("f")), "/*", plugins), (unique("f"), "", {})):
        route = {"uri": f"/{name}{uri}", "plugins": own, "upstream": {"nodes": upstream.node}}
        await admin.put(f"/routes/{name}", route)
    await enforced(lambda: client.get(f"{admin.gateway.data}/{name}"), lambda answer: answer.status == 200)
    upstream.seen.clear()
    return f"{admin.gateway.data}/{first}"


async def test_an_abort_answers_those_who_are_meant(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """Status, headers and body as configured, variables filled in; who meets no expression is served."""
    abort = {
        "http_status": 418,
        "body": '{"path":"$uri","who":"$arg_name","none":"$arg_none"}',
        "headers": {"Content-Type": "application/json", "X-Host": "$host", "X-Number": 7},
        "vars": [[["arg_name", "==", "jack"], ["http_x_tier", "~=", "gold"]], [["arg_name", "==", "joe"]]],
    }
    url = await _serve(admin, client, upstream, **{"fault-injection": {"abort": abort}})
    async with client.get(f"{url}/a?name=jack") as answer:
        assert answer.status == 418
        assert answer.content_type == "application/json"
        assert (answer.headers["X-Host"], answer.headers["X-Number"]) == ("127.0.0.1", "7")
        assert await answer.json() == {"path": f"/{url.rpartition('/')[2]}/a", "who": "jack", "none": ""}
    assert upstream.seen == []
    for query, headers, status in (
        ("?name=joe", {"X-Tier": "gold"}, 418),
        ("?name=jack", {"X-Tier": "gold"}, 200),
        ("?name=jim", {}, 200),
    ):
        async with client.get(f"{url}/a{query}", headers=headers) as answer:
            assert answer.status == status


@pytest.mark.parametrize(("percentage", "wanted"), [(0, {200: 20}), (100, {503: 20})])
async def test_an_abort_of_a_share(
    admin: Admin, client: ClientSession, upstream: Upstream, percentage: int, wanted: dict[int, int]
) -> None:
    """Nobody at 0 percent, everybody at 100."""
    abort = {"http_status": 503, "percentage": percentage}
    url = await _serve(admin, client, upstream, **{"fault-injection": {"abort": abort}})
    statuses: Counter[int] = Counter()
    for _ in range(20):
        async with client.get(f"{url}/a") as answer:
            statuses[answer.status] += 1
    assert statuses == wanted


async def test_a_hit_takes_from_a_limit_that_stands_before_the_cache(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """By APISIX's own order a hit is free; with a priority below the limit's it takes like any request."""

    async def statuses(**meta: Any) -> list[int]:
        plugins = {"limit-count": LIMIT, "proxy-cache": {**CACHE, **meta}}
        url = await _serve(admin, client, upstream, **plugins)
        found = []
        for _ in range(4):
            async with client.get(f"{url}/a") as answer:
                found.append(answer.status)
        return found

    assert await statuses() == [200, 200, 200, 200]
    assert await statuses(_meta={"priority": 990}) == [200, 200, 429, 429]


async def test_equal_limits_of_two_routes_count_apart(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """What stands on a route is that route's own, whatever another route's says."""
    for _ in range(2):
        url = await _serve(admin, client, upstream, **{"limit-count": {**LIMIT, "count": 1}})
        async with client.get(f"{url}/a") as answer:
            assert answer.status == 200


async def test_a_priority_brings_an_answer_before_authentication(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """Who has no key is sent to HTTPS first where the redirect's priority is above the key's check."""
    for priority, status in ((3900, 301), (100, 401)):
        redirect = {"http_to_https": True, "_meta": {"priority": priority}}
        url = await _serve(admin, client, upstream, **{"redirect": redirect, "key-auth": {}})
        async with client.get(f"{url}/a", allow_redirects=False) as answer:
            assert answer.status == status


async def test_a_plugin_that_is_off_does_nothing(
    admin: Admin, client: ClientSession, upstream: Upstream
) -> None:
    """`_meta.disable` leaves the configuration there and the plugin out."""
    conf = {"abort": {"http_status": 503}, "_meta": {"disable": True}}
    url = await _serve(admin, client, upstream, **{"fault-injection": conf})
    async with client.get(f"{url}/a") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"abort": {}}, 'property "http_status" is required'),
        ({"abort": {"http_status": 100}}, "expected 100 to be at least 200"),
        ({"abort": {"http_status": 500, "vars": [[["a", "=*=", 1]]]}}, "invalid operator"),
        ({"abort": {"http_status": 500}, "_meta": {"priority": "first"}}, "wrong type: expected integer"),
    ],
)
async def test_what_is_no_fault_is_refused(admin: Admin, conf: dict[str, Any], words: str) -> None:
    """A configuration that cannot work is refused when it is put, in APISIX's words."""
    route = {"uri": "/x", "plugins": {"fault-injection": conf}}
    refused = await admin.call("PUT", f"/routes/{unique('w')}", route)
    assert refused.status == 400, refused.text
    assert words in refused.error


@pytest.mark.parametrize(
    "conf",
    [
        {"abort": {"http_status": 500}, "_meta": {"filter": [["arg_a", "==", "1"]]}},
        {"abort": {"http_status": 500}, "delay": {"duration": 1}},
    ],
)
async def test_what_this_gateway_would_not_do_is_refused(admin: Admin, conf: dict[str, Any]) -> None:
    """A narrowing or a delay that APISIX knows and our gateway does not is refused, not passed over."""
    if admin.gateway.foreign:
        pytest.skip("APISIX does both")
    route = {"uri": "/x", "plugins": {"fault-injection": conf}}
    refused = await admin.call("PUT", f"/routes/{unique('w')}", route)
    assert refused.status == 400
    assert "additional properties forbidden" in refused.error
