"""What the tests of dunning share: a house with debts that are dated, and what became of them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from tests.integration.payments.house import House

from farebox import ids
from farebox.invoices.model import Invoice, InvoiceLine
from farebox.money import Money
from farebox.payments import service as payments
from farebox.payments.model import Payment
from farebox.usage.model import UsageStatement
from farebox_worker.dunning import passing
from farebox_worker.dunning.passing import Report

DAY = timedelta(days=1)


@dataclass(slots=True)
class Debts:
    """A customer's debts; `days` moves the clock, a pass at a time."""

    house: House
    issued: int = 0
    transfers: int = 0

    async def issue(
        self, minor: int = 1000, *, terms: int = 14, collection: str = "automatic", state: str = "finalized"
    ) -> UUID:
        """Finalize an invoice now, due in `terms` days."""
        self.issued += 1
        now = self.house.clock.now()
        invoice_id, statement_id = ids.uuid7(), ids.uuid7()
        async with self.house.worker.transaction() as session:
            found = await session.execute(
                text("SELECT id, subscription_id FROM billing_periods WHERE organization_id = :o LIMIT 1"),
                {"o": self.house.organization},
            )
            period = found.one()
            session.add(UsageStatement(id=statement_id, body={}, digest=b"\0" * 32))
            await session.flush()
            row = Invoice(
                id=invoice_id, organization_id=self.house.organization, period_id=period.id,
                subscription_id=period.subscription_id, issuer="Farebox", currency="USD",
                period_start=now + timedelta(seconds=self.issued), period_end=now + DAY,
                subtotal_minor=minor, tax_minor=0, total_minor=minor, snapshot={},
                statement_id=statement_id, created_at=now, terms_days=terms, collection=collection,
            )  # fmt: skip
            session.add(row)
            await session.flush()
            session.add(
                InvoiceLine(
                    id=ids.uuid7(), organization_id=self.house.organization, invoice_id=invoice_id,
                    position=1, charge_code="base", description="Base", quantity=1, amount_minor=minor,
                    detail={},
                )
            )  # fmt: skip
            await session.flush()
            row.state, row.number, row.finalized_at = state, f"FB-{self.issued}", now
            row.due_at = now + terms * DAY
        return invoice_id

    async def run(self) -> Report:
        """Do one pass of the worker's."""
        return await passing.run(self.house.till)

    async def days(self, number: int) -> None:
        """Let days pass, with a pass at the end of each."""
        for _ in range(number):
            self.house.clock.advance(DAY)
            report = await self.run()
            assert report.failed == 0

    async def transfer(self, minor: int, *, invoice: UUID | None = None) -> Payment:
        """Record a bank transfer."""
        self.transfers += 1
        return await payments.record_manual(
            self.house.till, self.house.organization, Money("USD", minor),
            reference=f"wire-{self.transfers}", invoice_id=invoice, note=None, actor="test",
        )  # fmt: skip

    async def state(self) -> str:
        """Return the running subscription's state."""
        row = await self.house.one(
            "SELECT state FROM subscriptions WHERE organization_id = :o AND state <> 'ended'",
            o=self.house.organization,
        )
        return str(row["state"])

    async def revision(self) -> int:
        """Return the revision that the gateways are to reach."""
        row = await self.house.one(
            "SELECT edge_revision FROM organizations WHERE id = :o", o=self.house.organization
        )
        return int(row["edge_revision"])

    async def case(self, invoice: UUID) -> dict[str, Any]:
        """Return the invoice's case."""
        return await self.house.one("SELECT * FROM dunning_cases WHERE invoice_id = :i", i=invoice)

    async def steps(self, invoice: UUID) -> list[tuple[str, int, str]]:
        """Return the case's steps by number, as (kind, number, state)."""
        rows = await self.house.rows(
            "SELECT s.kind, s.number, s.state FROM dunning_steps s JOIN dunning_cases c ON c.id = s.case_id "
            "WHERE c.invoice_id = :i ORDER BY s.round, s.at, s.kind, s.number",
            i=invoice,
        )
        return [(row["kind"], row["number"], row["state"]) for row in rows]

    async def transitions(self) -> list[tuple[str, str]]:
        """Return what dunning did to the subscription, as (transition, actor), the oldest first."""
        rows = await self.house.rows(
            "SELECT transition, actor FROM subscription_transitions WHERE organization_id = :o "
            "AND transition IN ('mark past due', 'suspend', 'reinstate') ORDER BY id",
            o=self.house.organization,
        )
        return [(row["transition"], row["actor"]) for row in rows]
