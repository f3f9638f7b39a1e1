"""An organization's subscriptions as the database has them, and the one thing that must always hold."""

from sqlalchemy import select, text

from farebox.db import Database
from farebox.organizations.model import Organization
from farebox.subscriptions.model import BillingPeriod, Subscription, SubscriptionTransition


async def subscriptions(worker: Database) -> list[Subscription]:
    """Every subscription in the order of the chain."""
    async with worker.transaction() as session:
        ordered = select(Subscription).order_by(Subscription.created_at, Subscription.id)
        return list(await session.scalars(ordered))


async def periods(worker: Database) -> list[BillingPeriod]:
    """Every period in time."""
    async with worker.transaction() as session:
        return list(
            await session.scalars(
                select(BillingPeriod).order_by(
                    BillingPeriod.starts_at, BillingPeriod.ends_at, BillingPeriod.id
                )
            )
        )


async def transitions(worker: Database) -> list[tuple[str, str | None, str]]:
    """Every transition with its states, in the order in which they were written."""
    async with worker.transaction() as session:
        rows = await session.scalars(select(SubscriptionTransition).order_by(SubscriptionTransition.id))
        return [(row.transition, row.from_state, row.to_state) for row in rows]


async def events(worker: Database) -> int:
    """How many changes were told to the outbox."""
    async with worker.transaction() as session:
        return int(
            await session.scalar(text("SELECT count(*) FROM outbox WHERE job = 'subscription.changed'")) or 0
        )


async def holds(worker: Database, organization: str | None = None) -> None:
    """One subscription runs; periods tile time without gap or overlap; each transition was told.

    `organization` (`org_…`) tells which one, where there are several.
    """
    chain, rows = await subscriptions(worker), await periods(worker)
    if organization is not None:
        async with worker.transaction() as session:
            which = await session.scalar(
                select(Organization.id).where(Organization.public_id == organization.removeprefix("org_"))
            )
        chain = [one for one in chain if one.organization_id == which]
        rows = [row for row in rows if row.organization_id == which]
    assert sum(one.state != "ended" for one in chain) == 1
    assert [before.ends_at for before in rows[:-1]] == [after.starts_at for after in rows[1:]]
    assert rows[0].starts_at == min(one.started_at for one in chain)
    for one in chain:
        own = [row for row in rows if row.subscription_id == one.id]
        assert own[0].starts_at == one.started_at
        assert [row.is_first for row in own] == [True] + [False] * (len(own) - 1)
        assert one.ended_at is None or (own[-1].ends_at, own[-1].is_last) == (one.ended_at, True)
    assert await events(worker) == len(await transitions(worker))
