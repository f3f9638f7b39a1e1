"""What Stripe has of a managed subscription, written down: its state, its invoices, the money they brought.

In the worker's transaction. Every verb locks the subscription's row first and may be done again, late and in
any order: an invoice only moves up, a payment succeeds once, a wish is passed on when the two sides differ
from what both last agreed on.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids
from farebox.money import Money
from farebox.payments import ledger
from farebox.payments.managed.model import StripeInvoice, StripeItem, StripePrice, StripeSubscription
from farebox.payments.managed.seen import OVER, RANK, SeenInvoice, SeenSubscription
from farebox.payments.model import Payment
from farebox.payments.provider import Failure, Seen
from farebox.problems import Refusal
from farebox.subscriptions import wishes

ACTOR: Final = "provider stripe"
_UNKNOWN: Final = Failure("payment_failed", "Stripe could not collect the invoice.")


async def known(session: AsyncSession, provider_id: str, named: str | None) -> StripeSubscription | None:
    """Return our row, locked: by the id there, or by the id of ours that it carries."""
    own = _own(named)
    for by in (StripeSubscription.provider_id == provider_id, StripeSubscription.id == own):
        found = await session.scalar(
            select(StripeSubscription).where(by).with_for_update().execution_options(populate_existing=True)
        )
        if found is not None and found.provider_id in {None, provider_id}:
            return found
    return None


def _own(named: str | None) -> UUID | None:
    try:
        return UUID(named) if named else None
    except ValueError:
        return None


async def subscription(
    session: AsyncSession, row: StripeSubscription, seen: SeenSubscription, *, now: datetime
) -> None:
    """Write down a subscription as it is now. Whoever ended it at Stripe ends it here."""
    if row.state == "ended":
        return
    row.status, row.updated_at = seen.status, now
    if row.provider_id is None:
        row.provider_id, row.started_at, row.method = seen.provider_id, now, seen.method
        row.state = "running" if row.state == "wanted" else row.state
    if seen.status in OVER:
        was_ours = row.state == "leaving" or row.ending
        row.state, row.ended_at = "ended", now
        await session.flush()
        await _release(session, row.id, now)
        if seen.asked and not was_ours:
            await _cancel(session, row.organization_id, now)
    elif seen.ending != row.ending and row.state == "running":
        if seen.ending:
            await _cancel(session, row.organization_id, now)
        else:
            await _go_on(session, row.organization_id, now)
        row.ending = seen.ending
    await session.flush()


async def _cancel(session: AsyncSession, organization_id: UUID, now: datetime) -> None:
    try:
        await wishes.cancel(session, organization_id, wall=now, actor=ACTOR, cause="cancelled at Stripe")
    except Refusal:
        return  # it is cancelled, paused or on the default plan already


async def _go_on(session: AsyncSession, organization_id: UUID, now: datetime) -> None:
    try:
        await wishes.undo_cancel(session, organization_id, wall=now, actor=ACTOR)
    except Refusal:
        return  # it is not cancelled any more


async def invoice(
    session: AsyncSession, owner: StripeSubscription, seen: SeenInvoice, paid: Seen | None, *, now: datetime
) -> StripeInvoice:
    """Write down an invoice as it is now; `paid` is its payment, if there is one. The caller locked `owner`.

    What was paid settles the oldest of our invoices, the rest becomes balance: the advance of a period pays
    that period's invoice when it is finalized.
    """
    row = await _row(session, owner, seen, now)
    if RANK[seen.state] < RANK[row.state] or row.state == "paid":
        return row
    await _claim(session, owner, seen, now)
    prices = await _prices(session, seen)
    advances = [line for line in seen.lines if line.price in prices]
    row.state, row.due_minor, row.updated_at = seen.state, seen.due.minor, now
    row.advance_minor = sum(line.amount.minor for line in advances)
    row.advance_until = max((line.until for line in advances), default=None)
    await session.flush()
    if seen.state == "paid":
        await _paid(session, owner, row, seen, paid, now)
        odd = await _odd(session, seen, prices)
        if odd is not None:
            await _park(session, row, odd, now)
    elif seen.state == "open" and seen.attempts > row.attempts:
        await _failed(session, owner, row, seen, paid, now)
    elif seen.state in {"void", "uncollectible"}:
        await _release(session, owner.id, now, seen.provider_id)
        await _park(session, row, f"{seen.state} at Stripe: our invoices on it are collected here", now)
    row.attempts = max(row.attempts, seen.attempts)
    await session.flush()
    return row


async def _row(
    session: AsyncSession, owner: StripeSubscription, seen: SeenInvoice, now: datetime
) -> StripeInvoice:
    row = await session.scalar(select(StripeInvoice).where(StripeInvoice.provider_id == seen.provider_id))
    if row is None:
        row = StripeInvoice(
            id=ids.uuid7(),
            organization_id=owner.organization_id,
            subscription_id=owner.id,
            provider_id=seen.provider_id,
            state="draft",
            currency=seen.due.currency,
            due_minor=seen.due.minor,
            advance_minor=0,
            attempts=0,
            created_at=seen.created_at,
            updated_at=now,
        )
        session.add(row)
        await session.flush()
    return row


async def _claim(session: AsyncSession, owner: StripeSubscription, seen: SeenInvoice, now: datetime) -> None:
    """Note which of our items stand on it: one that waited for the next invoice learns which it was."""
    for line in seen.lines:
        own = _own(line.item)
        if own is not None:
            await session.execute(
                update(StripeItem)
                .where(
                    StripeItem.id == own,
                    StripeItem.subscription_id == owner.id,
                    StripeItem.state.in_(("placed", "put")),
                )
                .values(
                    state="put", stripe_invoice=seen.provider_id, provider_id=line.item_id, updated_at=now
                )
            )


async def _prices(session: AsyncSession, seen: SeenInvoice) -> dict[str, Money]:
    named = [line.price for line in seen.lines if line.price is not None]
    rows = await session.scalars(select(StripePrice).where(StripePrice.provider_id.in_(named)))
    return {row.provider_id: Money(row.currency, row.amount_minor) for row in rows}


async def _odd(session: AsyncSession, seen: SeenInvoice, prices: dict[str, Money]) -> str | None:
    """Return why this invoice asks for something else than we do, None if it does not."""
    items = await session.scalars(
        select(StripeItem).where(StripeItem.stripe_invoice == seen.provider_id, StripeItem.amount_minor > 0)
    )
    ours = {str(item.id): Money(item.currency, item.amount_minor) for item in items}
    for line in seen.lines:
        expected = prices.get(line.price or "") or ours.pop(line.item or "", None)
        is_trial = line.price in prices and line.amount.minor == 0
        if not is_trial and line.amount != expected:
            return f"a line asks for {line.amount}, we expected {expected or 'none'}"
    if ours:
        return f"{len(ours)} of our items are not on it"
    if sum(line.amount.minor for line in seen.lines) != seen.due.minor:
        return f"its lines do not add up to {seen.due}: a discount, a tax or a balance of Stripe's"
    return None


async def _payment(
    session: AsyncSession, owner: StripeSubscription, row: StripeInvoice, seen: SeenInvoice, now: datetime
) -> Payment:
    """Return the payment of an invoice: one for each, whatever comes twice."""
    if row.payment_id is not None:
        return await ledger.locked(session, row.payment_id)
    payment_id = ids.uuid7()
    payment = Payment(
        id=payment_id,
        organization_id=owner.organization_id,
        provider="stripe",
        provider_id=seen.intent,
        idempotency_key=f"stripe-{seen.provider_id}"[:100],
        flow="subscription",
        amount_minor=seen.due.minor,
        refunded_minor=0,
        currency=seen.due.currency,
        state="created",
        actor=ACTOR,
        created_at=now,
        updated_at=now,
    )
    session.add(payment)
    await session.flush()
    row.payment_id = payment_id
    await session.flush()
    return payment


async def _paid(
    session: AsyncSession,
    owner: StripeSubscription,
    row: StripeInvoice,
    seen: SeenInvoice,
    paid: Seen | None,
    now: datetime,
) -> None:
    if seen.due.minor:
        if paid is None or paid.state != "succeeded":
            await _park(session, row, "paid, but not by a payment at Stripe: record the transfer", now)
        else:
            payment = await _payment(session, owner, row, seen, now)
            await ledger.record(session, payment.id, paid, now=now)
    await session.execute(
        update(StripeItem)
        .where(StripeItem.stripe_invoice == seen.provider_id, StripeItem.state.in_(("placed", "put")))
        .values(state="settled", updated_at=now)
    )


async def _failed(
    session: AsyncSession,
    owner: StripeSubscription,
    row: StripeInvoice,
    seen: SeenInvoice,
    tried: Seen | None,
    now: datetime,
) -> None:
    """Announce a failure, each attempt's once. Where the bank asks the holder, Stripe's page does too."""
    payment = await _payment(session, owner, row, seen, now)
    if payment.state == "succeeded":
        return
    failure = tried.failure if tried is not None and tried.failure is not None else _UNKNOWN
    payment.state, payment.action_url = "created", seen.url
    await session.flush()
    await ledger.fail(session, payment.id, code=failure.code, reason=failure.reason, state="failed", now=now)


async def _release(
    session: AsyncSession, subscription_id: UUID, now: datetime, stripe_invoice: str | None = None
) -> None:
    """Give our invoices back to our own collection, those of one Stripe invoice or all that are unpaid."""
    which = [StripeItem.subscription_id == subscription_id, StripeItem.state.in_(("placed", "put"))]
    if stripe_invoice is not None:
        which.append(StripeItem.stripe_invoice == stripe_invoice)
    await session.execute(update(StripeItem).where(*which).values(state="released", updated_at=now))


async def _park(session: AsyncSession, row: StripeInvoice, why: str, now: datetime) -> None:
    row.parked = why[:500]
    if row.payment_id is not None:
        await ledger.park(
            session, await ledger.locked(session, row.payment_id), f"{row.provider_id}: {why}", now
        )
    await session.flush()


async def outstanding(session: AsyncSession, subscription_id: UUID, *, until: datetime) -> int:
    """Return what unpaid invoices of Stripe's ask for of periods that ended by `until`, in minor units."""
    rows: Sequence[StripeInvoice] = (
        await session.scalars(
            select(StripeInvoice).where(
                StripeInvoice.subscription_id == subscription_id,
                StripeInvoice.state.in_(("draft", "open")),
                StripeInvoice.advance_until <= until,
            )
        )
    ).all()
    return sum(row.advance_minor for row in rows)
