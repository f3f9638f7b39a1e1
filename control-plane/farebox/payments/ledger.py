"""What becomes of money: a payment's outcome on its row, and the amounts on invoices and the balance.

Everything here works in one transaction of the caller's, locks the payment first and its invoices then, and
is safe to do again: what was recorded once is not recorded twice. Of providers it knows what was `Seen`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.credits import service as credit
from farebox.credits.model import CreditGrant
from farebox.dunning import service as dunning
from farebox.invoices import settlement
from farebox.invoices.model import Invoice
from farebox.money import Money
from farebox.outbox import PAYMENT_FAILED, PAYMENT_SUCCEEDED, enqueue
from farebox.payments import cards
from farebox.payments.model import Payment, PaymentAllocation
from farebox.payments.provider import Seen
from farebox.problems import Refusal

OWING: Final = ("finalized", "overdue", "uncollectible")
LIVE: Final = frozenset({"created", "processing", "requires_action"})
log = structlog.get_logger(__name__)


def public_id(payment_id: UUID) -> str:
    """Return the payment's public id."""
    return ids.encode("pay", payment_id)


async def locked(session: AsyncSession, payment_id: UUID) -> Payment:
    """Return the payment, locked for the transaction. Raises `Refusal` 404."""
    found = await session.scalar(
        select(Payment)
        .where(Payment.id == payment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise Refusal(problems.NOT_FOUND)
    return found


async def record(session: AsyncSession, payment_id: UUID, seen: Seen, *, now: datetime) -> Payment:
    """Write down what the provider has. Money that arrived is money, whatever we thought before.

    An amount or currency that is not what we asked for is parked for a person, and settles nothing.
    """
    row = await locked(session, payment_id)
    if row.state == "succeeded":
        return row
    asked = Money(row.currency, row.amount_minor)
    if seen.amount != asked or (seen.payment is not None and seen.payment != public_id(row.id)):
        await park(
            session, row, f"the provider has {seen.amount} for {seen.payment}, we asked for {asked}", now
        )
        return row
    row.provider_id = seen.provider_id
    row.postal_check = seen.postal_check or row.postal_check
    row.charge_id = seen.charge_id or row.charge_id
    if seen.card is not None:
        await cards.keep(session, row.organization_id, row.provider, seen.card, now=now)
    if seen.state == "succeeded":
        await _succeed(session, row, now=now)
    elif row.state in LIVE:
        if seen.failure is not None:
            row.failure_code, row.failure_reason = seen.failure.code, seen.failure.reason
        row.action_url = seen.action_url or row.action_url
        row.state, row.updated_at = seen.state, now
        await session.flush()
        if seen.state == "failed":
            await _announce_failure(session, row, now)
    await session.flush()
    return row


async def fail(
    session: AsyncSession, payment_id: UUID, *, code: str, reason: str, state: str, now: datetime
) -> Payment:
    """End a live payment without money: `failed` is announced, `canceled` is not."""
    row = await locked(session, payment_id)
    if row.state in LIVE:
        row.state, row.failure_code, row.failure_reason, row.updated_at = state, code[:100], reason[:500], now
        await session.flush()
        if state == "failed":
            await _announce_failure(session, row, now)
    return row


async def park(session: AsyncSession, row: Payment, why: str, now: datetime) -> None:
    """Leave the payment to a person, and say why."""
    log.error("payment_parked", payment=public_id(row.id), why=why)
    row.parked, row.updated_at = why[:500], now
    await session.flush()


async def _succeed(session: AsyncSession, row: Payment, *, now: datetime) -> None:
    row.state, row.succeeded_at, row.updated_at = "succeeded", now, now
    row.failure_code = row.failure_reason = None
    await session.flush()
    await allocate(session, row, Money(row.currency, row.amount_minor), now=now)
    await enqueue(
        session,
        PAYMENT_SUCCEEDED,
        organization=row.organization_id,
        payload={"payment": public_id(row.id)},
    )


async def _announce_failure(session: AsyncSession, row: Payment, now: datetime) -> None:
    following = await dunning.next_attempt_at(session, row.invoice_id, wall=now)
    payload = {"payment": public_id(row.id), "next_attempt_at": following}
    await enqueue(session, PAYMENT_FAILED, organization=row.organization_id, payload=payload)


async def allocate(session: AsyncSession, row: Payment, amount: Money, *, now: datetime) -> None:
    """Put money on the payment's invoice, or on the oldest open ones; the rest becomes balance.

    What dunning kept from the organization for these invoices it gives back here.
    """
    invoices = [row.invoice_id] if row.invoice_id is not None else await open_invoices(session, row)
    left = amount
    for invoice_id in invoices:
        if left.minor == 0:
            break
        settled = await settlement.settle(session, invoice_id, left, at=now)
        if settled.applied.minor:
            session.add(_allocation(row, settled.applied, now, invoice_id=invoice_id))
        left = settled.excess
    if left.minor:
        grant_id = await credit.grant(
            session,
            row.organization_id,
            kind="balance",
            amount=left,
            expires_at=None,
            source=f"payment {public_id(row.id)}",
            now=now,
        )
        session.add(_allocation(row, left, now, grant_id=grant_id))
    await session.flush()
    await dunning.settled(session, row.organization_id, now=now)


async def open_invoices(session: AsyncSession, row: Payment) -> list[UUID]:
    """Return the organization's invoices that ask for money in the payment's currency, the oldest first."""
    found = await session.scalars(
        select(Invoice.id)
        .where(
            Invoice.organization_id == row.organization_id,
            Invoice.currency == row.currency,
            Invoice.state.in_(OWING),
            Invoice.open_minor > 0,
        )
        .order_by(Invoice.finalized_at, Invoice.id)
    )
    return list(found)


def _allocation(
    row: Payment,
    amount: Money,
    now: datetime,
    *,
    invoice_id: UUID | None = None,
    grant_id: UUID | None = None,
) -> PaymentAllocation:
    return PaymentAllocation(
        id=ids.uuid7(),
        organization_id=row.organization_id,
        payment_id=row.id,
        invoice_id=invoice_id,
        grant_id=grant_id,
        amount_minor=amount.minor,
        reversed_minor=0,
        at=now,
    )


@dataclass(frozen=True, slots=True)
class Reversed:
    """What came back: out of the balance, off invoices, and what could not (`short`: spent balance)."""

    balance: Money
    invoices: Money
    short: Money


async def reverse(
    session: AsyncSession, row: Payment, amount: Money, *, reopens: bool, now: datetime
) -> Reversed:
    """Take money back out of where the payment put it: the balance first, then its newest invoice.

    `reopens`: the invoices ask for it again; otherwise (after a credit note) only the place is noted.
    """
    places = await session.scalars(
        select(PaymentAllocation)
        .where(
            PaymentAllocation.payment_id == row.id,
            PaymentAllocation.reversed_minor < PaymentAllocation.amount_minor,
        )
        .order_by(PaymentAllocation.grant_id.is_(None), PaymentAllocation.id.desc())
        .with_for_update()
    )
    left = amount.minor
    out = {"balance": 0, "invoices": 0}
    for place in places.all():
        part = min(left, place.amount_minor - place.reversed_minor)
        if place.grant_id is not None:
            part = await credit.take_back(session, place.grant_id, part, now=now)
            out["balance"] += part
        elif place.invoice_id is not None and part:
            if reopens:
                await settlement.unsettle(session, place.invoice_id, Money(row.currency, part), at=now)
            out["invoices"] += part
        place.reversed_minor += part
        left -= part
        if left == 0:
            break
    await session.flush()
    currency = row.currency
    return Reversed(Money(currency, out["balance"]), Money(currency, out["invoices"]), Money(currency, left))


async def reversible(session: AsyncSession, payment_id: UUID) -> int:
    """Return how much could be taken back now, in minor units: spent balance cannot."""
    rows = await session.execute(
        select(PaymentAllocation.amount_minor - PaymentAllocation.reversed_minor, CreditGrant.remaining_minor)
        .outerjoin(CreditGrant, CreditGrant.id == PaymentAllocation.grant_id)
        .where(PaymentAllocation.payment_id == payment_id)
    )
    return sum(left if remaining is None else min(left, remaining) for left, remaining in rows)


async def mark_refunded(session: AsyncSession, payment_id: UUID, minor: int) -> None:
    """Count an amount as refunded, or give it free again (a negative one)."""
    await session.execute(
        update(Payment)
        .where(Payment.id == payment_id)
        .values(refunded_minor=Payment.refunded_minor + minor)
        .execution_options(synchronize_session=False)
    )


async def restore(
    session: AsyncSession, row: Payment, amount: Money, *, reopened: bool, now: datetime
) -> None:
    """Undo a reversal: the money is ours again. What invoices asked for again they get, the rest is balance.

    Where nothing was reopened only the note of the reversal is taken back.
    """
    if reopened:
        await allocate(session, row, amount, now=now)
        return
    places = await session.scalars(
        select(PaymentAllocation)
        .where(PaymentAllocation.payment_id == row.id, PaymentAllocation.reversed_minor > 0)
        .order_by(PaymentAllocation.id)
        .with_for_update()
    )
    left = amount.minor
    for place in places.all():
        part = min(left, place.reversed_minor)
        place.reversed_minor -= part
        left -= part
    await session.flush()
