"""One organization or more, and what is sold to them, put to a gateway as the worker would put it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse, ClientSession
from tests.gateway.harness import Admin, enforced, unique
from tests.plugins.accounts import Account, open_account

from farebox.products.offers import ProductSpec, RouteSpec
from farebox.products.upstreams import UpstreamSpec
from farebox_gateway.planner import Plan, plan
from farebox_gateway.resources import Observed, Resource
from farebox_worker import translate


@dataclass(slots=True)
class Shop:
    """Puts definitions through the translation to the Admin API, and calls what they make."""

    admin: Admin
    client: ClientSession
    account: Account
    name: str = field(default_factory=lambda: unique("shop"))
    made: list[Resource] = field(default_factory=list)

    @property
    def key(self) -> dict[str, str]:
        """The header that the first organization calls with."""
        return {"Authorization": f"Bearer {self.account.key.text}"}

    async def put(
        self,
        *,
        upstreams: Sequence[UpstreamSpec],
        routes: Sequence[dict[str, Any]],
        products: Sequence[ProductSpec] = (),
    ) -> None:
        """Put all of it, in the order of the worker; each resource must be accepted."""
        facts = translate.CatalogueFacts(
            1, (), tuple(upstreams), tuple(products), tuple(RouteSpec.model_validate(each) for each in routes)
        )
        self.made = [
            each
            for each in translate.catalogue(facts, nonce="n", with_routes=True)
            if each.ref.id != translate.CANARY_ROUTE
        ]
        for step in plan(self.made, []).steps:
            await self.admin.put(f"/{step.ref.path}", step.body)

    async def again(self) -> Plan:
        """Return what a second pass would write."""
        observed = [
            Observed(each.ref, (await self.admin.get(f"/{each.ref.path}")).value) for each in self.made
        ]
        return plan(self.made, observed)

    async def call(self, path: str, **headers: str) -> ClientResponse:
        """Call with the first organization's key; the body is read."""
        async with self.client.get(
            f"{self.admin.gateway.data}{path}", headers={**self.key, **headers}, allow_redirects=False
        ) as response:
            await response.read()
            return response

    async def until(self, path: str, status: int = 200, **headers: str) -> ClientResponse:
        """Call until the gateway answers so."""
        return await enforced(
            lambda: self.client.get(
                f"{self.admin.gateway.data}{path}", headers={**self.key, **headers}, allow_redirects=False
            ),
            lambda response: response.status == status,
        )


async def open_shop(admin: Admin, client: ClientSession, upstream: Any) -> Shop:
    """Open an organization with a key; its plan has no limits."""
    return Shop(admin, client, await open_account(admin, upstream))
