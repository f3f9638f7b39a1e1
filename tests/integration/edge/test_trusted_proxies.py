"""Whose address counts when proxies stand before the gateway."""

import json
from pathlib import Path

import pytest
from aiohttp import ClientSession
from tests.gateway.harness import Admin, Upstream, running_edge
from tests.plugins.accounts import open_account


@pytest.mark.parametrize(
    ("forwarded", "client_address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.1.1.1", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:80, 10.1.1.1", "2001:db8::7"),
        ("nonsense", "127.0.0.1"),
        ("203.0.113.7, nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
async def test_the_first_address_that_is_no_trusted_proxy(
    tmp_path: Path, client: ClientSession, upstream: Upstream, forwarded: str, client_address: str
) -> None:
    """From the right, trusted proxies are passed over; what stands before them could be anybody's claim."""
    async with running_edge(tmp_path, TRUSTED_PROXIES="127.0.0.0/8,10.0.0.0/8") as gateway:
        account = await open_account(Admin(gateway, client), upstream)
        answer = await account.get(headers={"X-Forwarded-For": forwarded})
        seen = dict(json.loads(await answer.text())["headers"])
        assert seen["X-Real-IP"] == client_address
        assert gateway.lines()[-1]["ip"] == client_address


async def test_networks_of_a_key_hold_behind_a_proxy(
    tmp_path: Path, client: ClientSession, upstream: Upstream
) -> None:
    """A key's networks are compared with the client's address; an IPv4-mapped one is its IPv4."""
    async with running_edge(tmp_path, TRUSTED_PROXIES="127.0.0.0/8") as gateway:
        account = await open_account(Admin(gateway, client), upstream)
        key = await account.new_key(cidrs=["203.0.113.0/24", "2001:db8::/32"])
        for address, status in (
            ("203.0.113.9", 200),
            ("203.0.114.9", 403),
            ("2001:db8::1", 200),
            ("2001:db9::1", 403),
            ("::ffff:203.0.113.9", 200),
        ):
            answer = await account.get(key, headers={"X-Forwarded-For": address})
            assert answer.status == status, address
