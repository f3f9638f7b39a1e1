"""Callers without a key: who is let in as what, what they may use, and what is written about them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import ClientResponse
from tests.gateway.harness import enforced
from tests.plugins.accounts import Account, settled_window

from farebox_contract import billable, usage_line

HOUR = 3600
POLITE = {"User-Agent": "bot/1 (mailto:jo@example.org)"}
ANN = {"User-Agent": "bot/2 ann@example.org"}


def _tier(requests: int, **more: Any) -> dict[str, Any]:
    return {"limits": [{"name": "hourly", "requests": requests, "window": HOUR}], **more}


async def _call(account: Account, headers: Mapping[str, str] | None = None) -> ClientResponse:
    given = {"User-Agent": "bot/1", **(headers or {})}
    response = await account.session.get(account.url, headers=given)
    await response.read()
    return response


async def _open(account: Account, **tiers: Any) -> None:
    """Give the route tiers and return when they are enforced; no counter has been touched."""
    await settled_window(HOUR)
    await account.put_route(farebox_auth={"tiers": tiers})
    probe = {"X-API-Key": "", "User-Agent": "probe"}
    await enforced(lambda: _call(account, probe), lambda answer: answer.status == 401)
    await account.admin.settled()


async def _statuses(account: Account, count: int, headers: Mapping[str, str] | None = None) -> list[int]:
    return [(await _call(account, headers)).status for _ in range(count)]


async def _seen(response: ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in json.loads(await response.text())["headers"]}


async def test_all_three_on_one_route(account: Account) -> None:
    """A key, a contact, neither: each has its own allowance, and the upstream is told which tier it was."""
    await _open(account, anonymous=_tier(2), polite=_tier(3))
    assert await _statuses(account, 3) == [200, 200, 429]
    assert await _statuses(account, 4, POLITE) == [200, 200, 200, 429]
    keyed = await account.get(headers=POLITE)
    assert keyed.status == 200
    assert (await _seen(keyed))["x-farebox-tier"] == "keyed"
    tiers = [
        {name.lower(): value for name, value in one["headers"]}["x-farebox-tier"]
        for one in account.upstream.seen
    ]
    assert tiers == ["anonymous"] * 2 + ["polite"] * 3 + ["keyed"]


async def test_the_tier_cannot_be_claimed(account: Account) -> None:
    """What a client says about its tier or its identity is removed, whoever it is."""
    await _open(account, anonymous=_tier(5))
    claims = {
        "X-Farebox-Tier": "keyed",
        "x_farebox_tier": "keyed",
        "X-Consumer-Username": account.organization,
        "X-Farebox-Environment": "live",
    }
    headers = await _seen(await _call(account, claims))
    assert headers["x-farebox-tier"] == "anonymous"
    assert not {"x-consumer-username", "x-credential-identifier", "x-farebox-environment"} & headers.keys()


async def test_a_refusal_reads_like_any_other(account: Account) -> None:
    """429 with the headers of every limit, and the API's error shape."""
    await _open(account, anonymous=_tier(1))
    first = await _call(account)
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("1", "0")
    assert first.headers["RateLimit"].startswith('"hourly";r=0;t=')
    assert first.headers["RateLimit-Policy"] == '"hourly";q=1;w=3600'
    refused = await _call(account)
    assert refused.status == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= HOUR
    assert int(refused.headers["X-RateLimit-Reset"]) % HOUR == 0
    assert json.loads(await refused.text())["error"]["code"] == "rate_limit_exceeded"


async def test_contacts_cannot_be_invented(account: Account) -> None:
    """Each contact counts for itself, and all of one address together get no more than one contact."""
    await _open(account, polite=_tier(4))
    assert await _statuses(account, 2, POLITE) == [200, 200]
    assert await _statuses(account, 3, ANN) == [200, 200, 429]
    shown = (await _call(account, ANN)).headers["RateLimit-Policy"]
    assert shown == '"hourly";q=4;w=3600, "hourly-address";q=4;w=3600'
    for number in range(5):
        assert (await _call(account, {"User-Agent": f"bot a{number}@example.org"})).status == 429


async def test_no_contact_is_no_contact(account: Account) -> None:
    """Where only the polite are let in, who names no mail address gets 401 for want of a key."""
    await _open(account, polite=_tier(4))
    for agent in ("", "bot/1 (https://example.org/contact)", "jo@example", "@example.org"):
        refused = await _call(account, {"User-Agent": agent})
        assert refused.status == 401, agent
        assert json.loads(await refused.text())["error"]["code"] == "missing_api_key"
    assert (await _call(account, POLITE)).status == 200


async def test_a_wrong_key_is_never_anonymous(account: Account) -> None:
    """A key that is wrong, cut, revoked or empty is 401, and the account's suspension 403, tiers or not."""
    await _open(account, anonymous=_tier(9), polite=_tier(9))
    text = account.key.text
    for headers, code in (
        ({"X-API-Key": text[:-1]}, "invalid_api_key"),
        ({"Authorization": f"Bearer {text}x"}, "invalid_api_key"),
        ({"X-API-Key": "sk_live_" + "0" * 64}, "invalid_api_key"),
        ({"X-API-Key": ""}, "missing_api_key"),
        ({"Authorization": "Bearer "}, "missing_api_key"),
        ({"Authorization": "Bearer"}, "missing_api_key"),
    ):
        refused = await _call(account, {**POLITE, **headers})
        assert refused.status == 401, headers
        assert json.loads(await refused.text())["error"]["code"] == code
    assert (await _call(account, {"Authorization": "Basic abc"})).status == 200
    await account.put_consumer(state="suspended")
    assert (await account.until(403)).status == 403


async def test_the_line_of_a_caller_without_a_key(account: Account) -> None:
    """It is served, names nobody, and is billed to nobody; a 429 is `rate_limited`."""
    gateway = account.admin.gateway
    if not gateway.log_is_known:
        pytest.skip("FAREBOX_TEST_GATEWAY_USAGE_LOG does not say where this gateway's usage log is")
    await _open(account, anonymous=_tier(1))
    await _statuses(account, 2)
    await gateway.written(account.session)
    mine = [usage_line.decode(line) for line in gateway.raw_lines() if account.route.encode() in line][-2:]
    assert [(line.status, line.outcome) for line in mine] == [(200, "served"), (429, "rate_limited")]
    for line in mine:
        assert (line.org, line.key, line.env, line.sub, line.group) == (None,) * 5
        decision = billable.RULES[billable.DEFAULT_RULE](line.env, line.outcome, line.status)
        assert decision.reason == "unauthenticated"


async def test_a_tier_without_limits(account: Account) -> None:
    """An empty list of limits lets everybody in, and shows no limit."""
    await _open(account, anonymous={"limits": []})
    answer = await _call(account)
    assert answer.status == 200
    assert "RateLimit" not in answer.headers


async def test_routes_count_for_themselves(account: Account) -> None:
    """What an address used on one route is not taken from another's allowance."""
    await _open(account, anonymous=_tier(1))
    assert await _statuses(account, 2) == [200, 429]
    other = Account(
        account.admin,
        account.upstream,
        account.organization,
        account.key,
        f"{account.route}b",
        account.session,
    )
    await _open(other, anonymous=_tier(1))
    assert await _statuses(other, 2) == [200, 429]


@pytest.mark.parametrize(
    "tiers",
    [
        {"anonymous": {}},
        {"keyed": {"limits": []}},
        {"polite": {"limits": [{"name": "a", "requests": 0, "window": 1}]}},
        {"polite": {"limits": [{"name": "a", "requests": 1, "window": 1}] * 2}},
        {"anonymous": {"limits": [], "without_counter": "maybe"}},
    ],
)
async def test_what_is_no_tier_is_refused(account: Account, tiers: dict[str, Any]) -> None:
    """The Admin API refuses tiers that make no sense."""
    refused = await account.admin.call(
        "PUT",
        f"/routes/{account.route}",
        {
            "uri": f"/{account.route}/*",
            "plugins": {"farebox-auth": {"tiers": tiers}},
            "upstream": {"nodes": account.upstream.node},
        },
    )
    assert refused.status == 400
    assert "failed to check the configuration of plugin farebox-auth" in refused.error
