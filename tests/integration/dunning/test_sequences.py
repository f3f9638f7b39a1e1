"""Whatever happens in whatever order: who owes nothing is served, and who paid everything is served again."""

import random
from datetime import timedelta

import pytest
from tests.integration.dunning.debts import DAY, Debts

from farebox.invoices import settlement
from farebox.money import Money

STEPS = 40


class Story:
    """One customer's life, told by a seed; what must hold is looked at after each event."""

    def __init__(self, debts: Debts, seed: int) -> None:
        self.debts, self.random, self.told = debts, random.Random(seed), [f"seed {seed}"]

    async def event(self) -> None:
        """Let something happen, and the worker pass by."""
        open_now = await self.debts.house.rows(
            "SELECT id, open_minor, disputed_at, state FROM invoices WHERE open_minor > 0 AND "
            "state IN ('finalized', 'overdue', 'uncollectible') ORDER BY finalized_at, id"
        )
        what = self.random.choice(
            ["issue", "issue", "pay part", "pay older", "pay any", "fail", "dispute", "settle dispute",
             "credit", "write off", "days", "days", "days", "days", "weeks"]
        )  # fmt: skip
        one = self.random.choice(open_now) if open_now else None
        self.told.append(what)
        at = self.debts.house.clock.now()
        if what == "issue":
            await self.debts.issue(
                self.random.randrange(1, 5000), terms=self.random.choice([0, 7, 30]),
                collection=self.random.choice(["automatic", "automatic", "send_invoice"]),
            )  # fmt: skip
        elif what in {"days", "weeks"}:
            self.debts.house.clock.advance(self.random.randrange(1, 6) * (DAY if what == "days" else 7 * DAY))
        elif one is not None:
            await self.change(what, one["id"], one["open_minor"], open_now[0]["open_minor"], at=at)
        report = await self.debts.run()
        assert report.failed == 0, self.told
        await self.check()

    async def change(self, what: str, invoice, minor: int, oldest: int, *, at) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """Do something to an open invoice."""
        if what == "pay part":
            await self.debts.transfer(self.random.randrange(1, minor + 1), invoice=invoice)
        elif what == "pay older":
            await self.debts.transfer(oldest)
        elif what == "pay any":
            await self.debts.transfer(minor, invoice=invoice)
        elif what == "fail":
            await self.debts.house.card("chargeCustomerFail")
        else:
            async with self.debts.house.worker.transaction() as session:
                if what == "dispute":
                    await settlement.dispute(session, invoice, at=at)
                elif what == "settle dispute":
                    await settlement.dispute(session, invoice, at=None)
                elif what == "credit":
                    amount = Money("USD", self.random.randrange(1, minor + 1))
                    await settlement.take_off(session, invoice, amount, at=at)
                elif what == "write off":
                    row = await self.debts.house.one("SELECT state FROM invoices WHERE id = :i", i=invoice)
                    if row["state"] != "uncollectible":
                        await settlement.write_off(session, invoice)

    async def check(self) -> None:
        """Look at what must hold after any pass."""
        state = await self.debts.state()
        now = self.debts.house.clock.now()
        debts = await self.debts.house.rows(
            "SELECT state, due_at, disputed_at, collection FROM invoices WHERE open_minor > 0 "
            "AND state IN ('finalized', 'overdue', 'uncollectible')"
        )
        late = [each for each in debts if each["due_at"] <= now and each["disputed_at"] is None]
        if not late:
            assert state == "active", self.told
        if state == "suspended":
            assert any(
                each["collection"] == "automatic" and now - each["due_at"] >= timedelta(days=14)
                for each in late
            ), self.told

    async def pay_everything(self) -> None:
        """Settle all that is open: served again, in the payment's own transaction."""
        rows = await self.debts.house.rows(
            "SELECT COALESCE(sum(open_minor), 0)::bigint AS minor FROM invoices WHERE open_minor > 0 "
            "AND state IN ('finalized', 'overdue', 'uncollectible')"
        )
        if rows[0]["minor"]:
            await self.debts.transfer(rows[0]["minor"])
        assert await self.debts.state() == "active", self.told
        cases = await self.debts.house.rows("SELECT state FROM dunning_cases WHERE state <> 'resolved'")
        assert cases == [], self.told


@pytest.mark.parametrize("seed", range(6))
async def test_nobody_who_owes_nothing_is_cut_off_and_who_paid_everything_is_served(
    debts: Debts, seed: int
) -> None:
    """Issue, pay in parts, fail, dispute, pay the older one, credit, write off, and time: in any order."""
    story = Story(debts, seed)
    for _ in range(STEPS):
        await story.event()
    await story.pay_everything()
