"""Organizations, keys and routes for the plugins' tests, written as the worker writes them."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession
from tests.gateway.harness import Admin, Upstream, enforced, unique

from farebox_contract import keys


async def require_plugins(admin: Admin, *names: str) -> None:
    """Skip where the gateway under test does not list a plugin: then there is nothing to test."""
    listed = (await admin.get("/plugins/list")).json
    missing = [name for name in names if name not in listed]
    if missing:
        assert admin.gateway.foreign, f"our own gateway does not list {missing}"
        pytest.skip(f"this gateway does not list {', '.join(missing)}")


@dataclass(slots=True)
class Account:
    """One organization at the gateway, its first key, and a route of its own."""

    admin: Admin
    upstream: Upstream
    organization: str
    key: keys.IssuedKey
    route: str
    session: ClientSession
    plugins: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """An address that this account's route serves."""
        return f"{self.admin.gateway.data}/{self.route}/x"

    async def put_route(self, **plugins: Any) -> None:
        """Write the route with `farebox-auth` and what else is given (a name's `-` as `_`)."""
        given = {name.replace("_", "-"): conf for name, conf in plugins.items()}
        await self.admin.put(
            f"/routes/{self.route}",
            {
                "uri": f"/{self.route}/*",
                "plugins": {
                    "farebox-auth": {},
                    "proxy-rewrite": {"regex_uri": [f"^/{self.route}(/.*)$", "$1"]},
                    **given,
                },
                "upstream": {"nodes": self.upstream.node},
            },
        )

    async def put_consumer(self, *, state: str = "active", group: str | None = None, **plugins: Any) -> None:
        """Write the organization; `plugins` beside `farebox-auth`."""
        given = {name.replace("_", "-"): conf for name, conf in plugins.items()}
        value: dict[str, Any] = {
            "username": self.organization,
            "plugins": {"farebox-auth": {"state": state}, **given},
        }
        if group is not None:
            value["group_id"] = group
        await self.admin.put("/consumers", value)

    async def put_key(self, key: keys.IssuedKey, **conf: Any) -> None:
        """Write a key's credential."""
        plugins = {"farebox-auth": {"digest": key.digest, "environment": key.name.environment, **conf}}
        await self.admin.put(
            f"/consumers/{self.organization}/credentials/{key.name.key}", {"plugins": plugins}
        )

    async def new_key(self, environment: keys.Environment = "live", **conf: Any) -> keys.IssuedKey:
        """Issue another key."""
        key = keys.issue(environment, self.organization, keys.public_id())
        await self.put_key(key, **conf)
        return key

    async def get(self, key: keys.IssuedKey | None = None, **more: Any) -> ClientResponse:
        """Call the route with a key (the first one unless told)."""
        headers = {"Authorization": f"Bearer {(key or self.key).text}", **more.pop("headers", {})}
        response = await self.session.get(more.pop("url", self.url), headers=headers, **more)
        await response.read()
        return response

    async def until(self, status: int, key: keys.IssuedKey | None = None) -> ClientResponse:
        """Call until the edge has what was written."""
        return await enforced(lambda: self.get(key), lambda response: response.status == status)


async def open_account(admin: Admin, upstream: Upstream) -> Account:
    """Open an account and return it when its key is enforced."""
    organization = keys.public_id()
    key = keys.issue("live", organization, keys.public_id())
    account = Account(admin, upstream, organization, key, unique("r"), admin.session)
    await account.put_consumer()
    await account.put_key(key)
    await account.put_route()
    await account.until(200)
    upstream.seen.clear()
    return account


def this_month() -> list[dict[str, int]]:
    """Return a period that holds now and one after it."""
    now = int(time.time() * 1000)
    day = 24 * 3600 * 1000
    return [
        {"start": now - 10 * day, "end": now + 20 * day},
        {"start": now + 20 * day, "end": now + 50 * day},
    ]


async def settled_window(seconds: int = 60, spare: float = 3.0) -> None:
    """Wait past the edge of an epoch-aligned window if it is near, so that a test stays within one."""
    import asyncio

    left = seconds - time.time() % seconds
    if left < spare:
        await asyncio.sleep(left + 0.05)
