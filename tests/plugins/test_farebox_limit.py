"""farebox-limit: how many requests pass, how a refusal reads, and what an edit does to the count."""

import asyncio
import json
import time
from typing import Any

import pytest
from tests.gateway.harness import unique
from tests.plugins.accounts import Account, settled_window, this_month

from farebox_contract import keys

HOUR = 3600


async def _plan(account: Account, conf: dict[str, Any], **consumer: Any) -> str:
    """Put the account into a plan of its own and give its group's id."""
    group = unique("g")
    await account.admin.put(f"/consumer_groups/{group}", {"plugins": {"farebox-limit": conf}})
    await account.put_consumer(
        group=group,
        farebox_limit={"subscription": account.organization, "periods": this_month(), **consumer},
    )
    await asyncio.sleep(0.1 if account.admin.gateway.foreign else 0)
    return group


async def _statuses(account: Account, count: int, key: keys.IssuedKey | None = None) -> list[int]:
    return [(await account.get(key)).status for _ in range(count)]


async def test_a_window_lets_its_number_through(account: Account) -> None:
    """Of limit + 2 requests in a window exactly two are 429, in the API's error shape, with Retry-After."""
    await settled_window(HOUR)
    await _plan(account, {"limits": [{"name": "hourly", "requests": 5, "window": HOUR}]})
    assert await _statuses(account, 7) == [200] * 5 + [429] * 2
    refused = await account.get()
    body = json.loads(await refused.text())
    now = time.time()
    end = (int(now) // HOUR + 1) * HOUR
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert body["error"]["details"]["limit"] == "hourly"
    assert abs(int(refused.headers["Retry-After"]) - (end - now)) <= 2
    assert refused.headers["X-RateLimit-Limit"] == "5"
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert refused.headers["X-RateLimit-Reset"] == str(end)
    assert len(account.upstream.seen) == 5


async def test_headers_count_down(account: Account) -> None:
    """X-RateLimit-* and the IETF's RateLimit and RateLimit-Policy say what is left, on each answer."""
    await settled_window(HOUR)
    limits = [
        {"name": "hourly", "requests": 3, "window": HOUR},
        {"name": "daily", "requests": 100, "window": 24 * HOUR},
    ]
    await _plan(account, {"limits": limits})
    for left in (2, 1, 0):
        response = await account.get()
        assert response.headers["X-RateLimit-Remaining"] == str(left)
        assert response.headers["RateLimit"].startswith(f'"hourly";r={left};t=')
        assert response.headers["RateLimit-Policy"] == '"hourly";q=3;w=3600, "daily";q=100;w=86400'


async def test_a_refused_request_burns_nothing(account: Account) -> None:
    """What one limit refuses is not taken from the others, nor from the quota."""
    await settled_window(HOUR)
    limits = [
        {"name": "big", "requests": 100, "window": HOUR},
        {"name": "small", "requests": 2, "window": HOUR},
    ]
    group = await _plan(account, {"limits": limits, "quota": {"units": 100, "kind": "hard"}})
    assert await _statuses(account, 12) == [200] * 2 + [429] * 10
    limits[1]["requests"] = 1000
    await account.admin.put(
        f"/consumer_groups/{group}",
        {"plugins": {"farebox-limit": {"limits": limits, "quota": {"units": 100, "kind": "hard"}}}},
    )
    response = await account.until(200)
    assert response.headers["X-RateLimit-Remaining"] == "97"


async def test_an_edit_keeps_the_count(account: Account) -> None:
    """Raising or lowering a limit, or another plan version, goes on from what was used."""
    await settled_window(HOUR)
    await _plan(account, {"limits": [{"name": "hourly", "requests": 3, "window": HOUR}]})
    assert await _statuses(account, 4) == [200] * 3 + [429]
    await _plan(account, {"limits": [{"name": "hourly", "requests": 5, "window": HOUR}]})
    assert await _statuses(account, 3) == [200] * 2 + [429]
    await _plan(account, {"limits": [{"name": "hourly", "requests": 4, "window": HOUR}]})
    assert await _statuses(account, 1) == [429]


async def test_all_keys_of_an_organization_share_its_limits(account: Account) -> None:
    """A second key is no second allowance."""
    await settled_window(HOUR)
    await _plan(account, {"limits": [{"name": "hourly", "requests": 4, "window": HOUR}]})
    other = await account.new_key()
    assert await _statuses(account, 2) + await _statuses(account, 3, other) == [200] * 4 + [429]


async def test_windows_begin_on_the_clock(account: Account) -> None:
    """A window of a second ends with the second: what was refused passes in the next one."""
    await _plan(account, {"limits": [{"name": "second", "requests": 1, "window": 1}]})
    began, passed = time.time(), 0
    while time.time() < began + 2.5:
        passed += (await account.get()).status == 200
    seconds = int(time.time()) - int(began) + 1
    assert seconds - 1 <= passed <= seconds


async def test_a_hard_quota(account: Account) -> None:
    """The units of the period are given out exactly; then 429 with another code and the period's end."""
    await _plan(account, {"limits": [], "quota": {"units": 6, "kind": "hard"}})
    assert await _statuses(account, 8) == [200] * 6 + [429] * 2
    refused = await account.get()
    assert json.loads(await refused.text())["error"]["code"] == "quota_exceeded"
    assert int(refused.headers["Retry-After"]) > 19 * 24 * HOUR


async def test_a_soft_quota_refuses_nobody(account: Account) -> None:
    """Beyond a soft quota requests pass: they are billed as overage."""
    await _plan(account, {"limits": [], "quota": {"units": 2, "kind": "soft"}})
    assert await _statuses(account, 5) == [200] * 5


async def test_the_quota_counts_units(account: Account) -> None:
    """A route's weight is taken from the quota; a request that would not fit is refused whole."""
    await account.put_route(farebox_meter={"units": 4})
    await _plan(account, {"limits": [], "quota": {"units": 10, "kind": "hard"}})
    assert await _statuses(account, 4) == [200, 200, 429, 429]


async def test_what_is_not_billable_gives_its_units_back(account: Account) -> None:
    """A request that fails behind the gateway is not billed, and does not use the quota up."""
    await _plan(account, {"limits": [], "quota": {"units": 2, "kind": "hard"}})
    url = account.url.removesuffix("/x") + "/status/500"
    for _ in range(4):
        assert (await account.get(url=url)).status == 500
    assert await _statuses(account, 3) == [200, 200, 429]


async def test_what_the_upstream_says_is_what_counts(account: Account) -> None:
    """With `upstream_units` the quota follows the upstream's number."""
    await account.put_route(farebox_meter={"upstream_units": True})
    await _plan(account, {"limits": [], "quota": {"units": 10, "kind": "hard"}})
    url = account.url.removesuffix("/x") + "/units/9"
    assert (await account.get(url=url)).status == 200
    assert await _statuses(account, 2) == [200, 429]


async def test_a_weight_is_reserved_and_settled(account: Account) -> None:
    """A route's weight must fit before; what the upstream then reports is what is taken, more or less."""
    await account.put_route(farebox_meter={"units": 9, "upstream_units": True})
    await _plan(account, {"limits": [], "quota": {"units": 12, "kind": "hard"}})
    base = account.url.removesuffix("/x")
    assert (await account.get(url=f"{base}/units/3")).status == 200
    assert (await account.get(url=f"{base}/units/0")).status == 200
    assert (await account.get(url=f"{base}/units/1")).status == 200
    assert (await account.get(url=f"{base}/units/1")).status == 429
    await account.put_route(farebox_meter={"units": 1, "upstream_units": True})
    answer = await account.until(200)
    assert int(answer.headers["X-RateLimit-Remaining"]) == 12 - 3 - 1 - 1


@pytest.mark.parametrize("conf", [{"rule": "free_v9"}, {"units": -1}, {"units": 10**6 + 1}])
async def test_what_is_no_weight_is_refused(account: Account, conf: dict[str, Any]) -> None:
    """The Admin API refuses a weight or a billable rule that there is not; the default rule may be named."""
    value = {
        "uri": f"/{account.route}/*",
        "upstream": {"nodes": account.upstream.node},
        "plugins": {"farebox-auth": {}, "farebox-meter": conf},
    }
    refused = await account.admin.call("PUT", f"/routes/{account.route}", value)
    assert refused.status == 400
    assert "failed to check the configuration of plugin farebox-meter" in refused.error
    value["plugins"] = {"farebox-auth": {}, "farebox-meter": {"rule": "served_v1"}}
    await account.admin.put(f"/routes/{account.route}", value)


async def test_test_keys_are_limited_and_take_no_quota(account: Account) -> None:
    """A test key has the same windows, but the quota is the live keys'."""
    await settled_window(HOUR)
    await _plan(
        account,
        {
            "limits": [{"name": "hourly", "requests": 5, "window": HOUR}],
            "quota": {"units": 1, "kind": "hard"},
        },
    )
    key = await account.new_key("test")
    assert await _statuses(account, 3, key) == [200] * 3
    assert await _statuses(account, 2) == [200, 429]
    assert await _statuses(account, 2, key) == [200, 429]


async def test_one_organization_s_own_terms(account: Account) -> None:
    """Limits and quota on the consumer hold instead of the group's."""
    await settled_window(HOUR)
    await _plan(
        account,
        {
            "limits": [{"name": "hourly", "requests": 1, "window": HOUR}],
            "quota": {"units": 1, "kind": "hard"},
        },
        limits=[{"name": "hourly", "requests": 3, "window": HOUR}],
        quota={"units": 100, "kind": "hard"},
    )
    assert await _statuses(account, 4) == [200] * 3 + [429]


async def test_a_new_period_is_a_new_quota(account: Account) -> None:
    """Another period's start is another counter; a period that is over goes on until the next is known."""
    now = int(time.time() * 1000)
    group = await _plan(account, {"limits": [], "quota": {"units": 2, "kind": "hard"}})
    assert await _statuses(account, 3) == [200, 200, 429]
    over = [{"start": now - 2000, "end": now - 1000}]
    await account.put_consumer(
        group=group, farebox_limit={"subscription": account.organization, "periods": over}
    )
    await account.until(200)
    assert await _statuses(account, 2) == [200, 429]


async def test_organizations_do_not_share(account: Account) -> None:
    """A plan's limits are each organization's own."""
    from tests.plugins.accounts import open_account

    await settled_window(HOUR)
    group = await _plan(account, {"limits": [{"name": "hourly", "requests": 1, "window": HOUR}]})
    other = await open_account(account.admin, account.upstream)
    await other.put_consumer(
        group=group, farebox_limit={"subscription": other.organization, "periods": this_month()}
    )
    assert await _statuses(account, 2) == [200, 429]
    assert await _statuses(other, 2) == [200, 429]


async def test_a_burst_gets_no_more_than_its_number(account: Account) -> None:
    """Many requests at once pass exactly as often as the limit says."""
    await settled_window(HOUR)
    await _plan(
        account,
        {
            "limits": [{"name": "hourly", "requests": 20, "window": HOUR}],
            "quota": {"units": 15, "kind": "hard"},
        },
    )
    answers = await asyncio.gather(*(account.get() for _ in range(60)))
    assert sorted(answer.status for answer in answers) == [200] * 15 + [429] * 45


@pytest.mark.parametrize(
    ("place", "conf"),
    [
        ("consumer_groups", {}),
        ("consumer_groups", {"limits": [{"name": "a b", "requests": 1, "window": 1}]}),
        ("consumer_groups", {"limits": [{"name": "a", "requests": 0, "window": 1}]}),
        ("consumer_groups", {"limits": [{"name": "a", "requests": 1, "window": 0}]}),
        ("consumer_groups", {"limits": [{"name": "a", "requests": 1, "window": 1}] * 2}),
        ("consumer_groups", {"limits": [], "quota": {"units": 1, "kind": "medium"}}),
        ("consumer_groups", {"limits": [], "without_counter": "maybe"}),
        ("consumers", {"subscription": "s", "periods": []}),
        ("consumers", {"subscription": "s", "periods": [{"start": 2, "end": 1}]}),
        ("consumers", {"periods": [{"start": 1, "end": 2}]}),
    ],
)
async def test_what_is_no_plan_is_refused(account: Account, place: str, conf: dict[str, Any]) -> None:
    """The Admin API refuses limits that make no sense."""
    name = unique("x")
    value: dict[str, Any] = {"plugins": {"farebox-limit": conf}}
    if place == "consumers":
        value["username"] = name
    refused = await account.admin.call("PUT", f"/{place}/{name}", value)
    assert refused.status == 400
    assert "failed to check the configuration of plugin farebox-limit" in refused.error
