"""Who asks for an organization's money: Farebox, or a subscription at Stripe.

A wish, which the worker fulfils; asks no provider anything.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.invoices.model import Invoice
from farebox.payments import cards
from farebox.payments.managed.model import StripeItem, StripeSubscription
from farebox.problems import Refusal

LIVE: Final[ColumnElement[bool]] = StripeSubscription.state != "ended"
ASKED: Final = ("placed", "put")


async def live(
    session: AsyncSession, organization_id: UUID, *, locked: bool = False
) -> StripeSubscription | None:
    """Return the organization's managed subscription, wished for or running; locked until the end."""
    statement = select(StripeSubscription).where(StripeSubscription.organization_id == organization_id, LIVE)
    if locked:
        statement = statement.with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


async def choose(
    session: AsyncSession, organization_id: UUID, *, actor: str, now: datetime
) -> StripeSubscription:
    """Have a Stripe subscription collect from the next period on. Twice is once.

    Raises `Refusal` 409 without a saved card, or while an earlier one is being given up.
    """
    row = await live(session, organization_id, locked=True)
    if row is not None:
        if row.state == "leaving":
            raise Refusal(problems.COLLECTED_BY_STRIPE, "The last Stripe subscription is still being ended.")
        return row
    if await cards.default(session, organization_id, provider="stripe") is None:
        raise Refusal(problems.NO_PAYMENT_METHOD)
    row = StripeSubscription(
        id=ids.uuid7(),
        organization_id=organization_id,
        state="wanted",
        ending=False,
        actor=actor,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    await session.flush()
    return row


async def leave(session: AsyncSession, organization_id: UUID, *, now: datetime) -> StripeSubscription | None:
    """Have Farebox collect again. One that is only wanted may be at Stripe without our knowing, so the worker
    ends both there first.
    """
    row = await live(session, organization_id, locked=True)
    if row is not None and row.state != "leaving":
        row.state, row.updated_at = "leaving", now
        await session.flush()
    return row


async def collects(session: AsyncSession, invoice: Invoice) -> bool:
    """Tell whether a Stripe subscription asks for this invoice, so that nobody else does."""
    item = await session.scalar(select(StripeItem.state).where(StripeItem.invoice_id == invoice.id))
    if item is not None:
        return item in ASKED
    if invoice.collection != "automatic" or invoice.finalized_at is None:
        return False
    is_running = exists().where(
        StripeSubscription.organization_id == invoice.organization_id,
        StripeSubscription.state == "running",
        StripeSubscription.started_at <= invoice.finalized_at,
    )
    return bool(await session.scalar(select(is_running)))
