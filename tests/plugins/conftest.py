"""The same gateway as in tests/gateway; tests of our plugins are skipped where it has not got them."""

from typing import Any

import pytest_asyncio
from tests.gateway.fixtures import admin, client, gateway, upstream
from tests.gateway.harness import Admin, Upstream
from tests.plugins.accounts import Account, open_account, require_plugins

__all__ = ["account", "admin", "client", "gateway", "upstream"]


@pytest_asyncio.fixture
async def account(admin: Admin, upstream: Upstream) -> Account:
    """An organization with one live key and a route to the upstream behind `farebox-auth`."""
    await require_plugins(admin, "farebox-auth", "farebox-limit", "farebox-meter")
    return await open_account(admin, upstream)


def pytest_make_parametrize_id(val: Any) -> str | None:
    """Name parameters by their text where they have one."""
    return val if isinstance(val, str) and val.isprintable() else None
