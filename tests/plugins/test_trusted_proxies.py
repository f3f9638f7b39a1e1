"""Whose address counts behind a proxy, the same on both edges.

Our own gateway is started for it. Another must trust 127.0.0.0/8 and 2001:db8:ffff::/48 already, and
FAREBOX_TEST_GATEWAY_TRUSTS must be set.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from tests.gateway.harness import Admin, Gateway, Upstream, running_edge
from tests.plugins.accounts import Account, open_account

TRUSTED = "127.0.0.0/8,2001:db8:ffff::/48"


@pytest_asyncio.fixture
async def behind(
    tmp_path: Path, gateway: Gateway, client: ClientSession, upstream: Upstream
) -> AsyncIterator[Account]:
    """An account at a gateway that takes this machine for a proxy."""
    if gateway.foreign:
        if "FAREBOX_TEST_GATEWAY_TRUSTS" not in os.environ:
            pytest.skip("FAREBOX_TEST_GATEWAY_TRUSTS does not say that this gateway trusts this machine")
        admin = Admin(gateway, client)
        yield await open_account(admin, upstream)
        await admin.clean()
        return
    async with running_edge(tmp_path, TRUSTED_PROXIES=TRUSTED) as trusting:
        yield await open_account(Admin(trusting, client), upstream)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 127.9.9.9", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:db8::7, 2001:db8:ffff::1", "2001:db8::7"),
        ("203.0.113.7, ::ffff:127.0.0.2", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
async def test_the_first_address_that_is_no_proxy(behind: Account, forwarded: str, address: str) -> None:
    """Trusted proxies of either family, mapped ones too, are passed over from the right."""
    key = await behind.new_key(cidrs=["198.51.100.0/24"])
    refused = await behind.until(403, key)
    refused = await behind.get(key, headers={"X-Forwarded-For": forwarded})
    assert (await refused.json())["error"]["details"] == {"reason": "address", "address": address}
    gateway = behind.admin.gateway
    if gateway.log_is_known:
        await gateway.written(behind.session)
        mine = [line for line in gateway.lines() if line.get("route") == behind.route]
        assert mine[-1]["ip"] == address


async def test_networks_of_a_key_behind_a_proxy(behind: Account) -> None:
    """A key's networks are compared with the client's address, not with the proxy's."""
    key = await behind.new_key(cidrs=["203.0.113.0/24", "2001:db8::/48"])
    await behind.until(403, key)
    for address, status in (
        ("203.0.113.9", 200),
        ("203.0.114.9", 403),
        ("2001:db8::1", 200),
        ("2001:db9::1", 403),
        ("::ffff:203.0.113.9", 200),
    ):
        answer = await behind.get(key, headers={"X-Forwarded-For": address})
        assert answer.status == status, address


async def test_tiers_count_by_the_client_s_address(behind: Account) -> None:
    """Anonymous callers behind one proxy are counted apart; of IPv6 the /64 is one caller."""
    limits = [{"name": "daily", "requests": 1, "window": 86_400}]
    await behind.put_route(farebox_auth={"tiers": {"anonymous": {"limits": limits}}})
    await behind.admin.settled()
    for address, status in (
        ("203.0.113.1", 200),
        ("203.0.113.1", 429),
        ("::ffff:203.0.113.1", 429),
        ("203.0.113.2", 200),
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("2001:db8:0:1::1", 200),
    ):
        async with behind.session.get(behind.url, headers={"X-Forwarded-For": address}) as answer:
            assert answer.status == status, address
