"""What the tests of payments share: a customer with invoices and a card, and what there is afterwards."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import aiohttp
from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import Api, Person

from farebox import ids
from farebox.clock import ManualClock
from farebox.db import Database
from farebox.payments import accounts, cards
from farebox.payments.accounts import Till
from farebox.payments.provider import Card
from farebox.payments.providers import Providers
from farebox.sandbox.app import Sandbox
from farebox.settings import Settings
from farebox_worker.jobs.outbox_row import Context


class House:
    """The application, its worker's database, its providers, and Ada, who owns an organization."""

    person: Person
    organization: UUID

    def __init__(
        self,
        api: Api,
        worker: Database,
        settings: Settings,
        clock: ManualClock,
        sandbox: Sandbox,
        opened: Providers,
    ) -> None:
        self.api, self.worker, self.settings, self.clock = api, worker, settings, clock
        self.sandbox, self.providers = sandbox, opened
        self.till = Till(worker, opened, clock, settings.public_url)
        self.context = Context(worker, settings, clock)
        self._http = aiohttp.ClientSession()
        self._numbers = 0

    async def begin(self) -> None:
        """Sign Ada up, and tell the sandbox where webhooks go, held until they are asked for."""
        self.person = await self.api.sign_up()
        self.organization = await planting.organization_uuid(self.worker, self.person)
        await self.sandbox_asked("POST", "settings", {"webhooks_held": True})
        await self.stripe_asked(
            "POST",
            "webhook_endpoints",
            {"url": f"{self.api.address}/api/v1/webhooks/stripe", "enabled_events[0]": "*"},
        )
        for endpoint in self.sandbox.world.store.newest_first("webhook_endpoint"):
            kept = {**endpoint, "_secret": self.sandbox.keys.stripe_webhook_secret}
            with self.sandbox.world.store.transaction():
                self.sandbox.world.store.put("webhook_endpoint", kept)
        self.sandbox.world.store.set_note(
            "paystack_webhook_url", f"{self.api.address}/api/v1/webhooks/paystack"
        )

    async def close(self) -> None:
        """Close what was opened here."""
        await self._http.close()

    async def sandbox_asked(self, method: str, path: str, body: Any = None) -> Any:
        """Pull one of the sandbox's controls."""
        return await self._ask(method, f"/sandbox/{path}", json=body)

    async def stripe_asked(self, method: str, path: str, form: Any = None) -> Any:
        """Call Stripe as its dashboard would."""
        return await self._ask(method, f"/v1/{path}", data=form)

    async def _ask(self, method: str, path: str, **sent: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.sandbox.keys.stripe_secret_key}"}
        async with self._http.request(method, self.sandbox.url + path, headers=headers, **sent) as response:
            answer = await response.json()
            assert response.status < 300, answer
            return answer

    async def fault(self, kind: str, path: str, **more: Any) -> None:
        """Order a fault."""
        await self.sandbox_asked("POST", "faults", {"kind": kind, "path": path, **more})

    async def card(self, name: str = "visa") -> Card:
        """Save one of Stripe's test cards, as Elements would."""
        customer = await accounts.make_known(self.till, self.providers.elements(), self.organization)
        saved = await self.stripe_asked(
            "POST", f"payment_methods/pm_card_{name}/attach", {"customer": customer.provider_id}
        )
        shown = saved["card"]
        card = Card(saved["id"], shown["brand"], shown["last4"], shown["exp_month"], shown["exp_year"])
        async with self.worker.transaction() as session:
            row = await cards.keep(session, self.organization, "stripe", card, now=self.clock.now())
            await cards.make_default(session, self.organization, row.id)
        return card

    async def invoice(self, minor: int, *, currency: str = "USD") -> UUID:
        """Plant a finalized invoice; each later one is of a later month."""
        self._numbers += 1
        at = self.clock.now() - timedelta(days=400 - 31 * self._numbers)
        public = await planting.invoice(
            self.worker, self.organization, number=f"FB-{self._numbers}", at=at, minor=minor
        )
        assert currency == "USD"
        return ids.decode("inv", public)

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Ask the database, as the worker sees it."""
        async with self.worker.transaction() as session:
            result = await session.execute(text(query), values)
            return [dict(row) for row in result.mappings()]

    async def one(self, query: str, **values: Any) -> dict[str, Any]:
        """Return the only row."""
        [row] = await self.rows(query, **values)
        return row

    async def owed(self, invoice: UUID) -> tuple[str, int]:
        """Return an invoice's state and what is open of it."""
        row = await self.one("SELECT state, open_minor FROM invoices WHERE id = :id", id=invoice)
        return row["state"], row["open_minor"]

    async def balance(self) -> int:
        """Return the organization's balance, in minor units."""
        row = await self.one("SELECT coalesce(sum(remaining_minor), 0)::bigint AS minor FROM credit_grants")
        return int(row["minor"])

    async def charged(self) -> list[int]:
        """Return what the provider has really charged, payment by payment."""
        found = await self.sandbox_asked("GET", "objects/payment_intent")
        return [each["amount_received"] for each in reversed(found) if each["status"] == "succeeded"]

    async def announced(self, job: str) -> int:
        """Return how often an outbox row of the job was written."""
        row = await self.one("SELECT count(*) AS n FROM outbox WHERE job = :job", job=job)
        return int(row["n"])
