"""Giving money back, and money that came by another way than a provider.

A refund is placed, ordered and recorded as a payment is. It opens the invoices again that the payment had
settled, unless it follows a credit note, whose invoice owes nothing.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.invoices.model import Invoice
from farebox.money import Money
from farebox.outbox import PAYMENT_SUCCEEDED, enqueue
from farebox.payments import ledger, placing
from farebox.payments.accounts import Till
from farebox.payments.model import Payment, Refund
from farebox.payments.provider import ProviderAwayError, ProviderRefusedError, RefundOrder, SeenRefund
from farebox.problems import Refusal

OPEN = ("created", "processing")


def public_id(refund_id: UUID) -> str:
    """Return the refund's public id."""
    return ids.encode("rfd", refund_id)


async def refund(
    till: Till,
    organization_id: UUID,
    payment_id: UUID,
    *,
    amount: Money | None,
    reason: str,
    reopens: bool,
    actor: str,
    request_key: str | None = None,
    dry_run: bool = False,
) -> Refund:
    """Give back an amount of a payment, or (None) all that is left of it.

    Returns the refund: `succeeded`, `processing`, `failed` with the provider's reason, or `created` when the
    provider did not answer. Raises `Refusal` 404, 409 for more than can be given back.
    """
    async with till.database.transaction(organization=organization_id, dry_run=dry_run) as session:
        await placing.take_turns(session, organization_id)
        before = await _asked_before(session, organization_id, request_key)
        if before is not None:
            return before
        payment = await ledger.locked(session, payment_id)
        given = await _refundable(session, payment, amount)
        row = Refund(
            id=ids.uuid7(),
            organization_id=organization_id,
            payment_id=payment.id,
            provider=payment.provider,
            idempotency_key="",
            request_key=request_key,
            amount_minor=given.minor,
            currency=given.currency,
            reopens=reopens,
            state="created",
            reason=reason,
            actor=actor,
            created_at=till.now(),
            updated_at=till.now(),
        )
        row.idempotency_key = f"refund-{row.id.hex}"
        session.add(row)
        await session.flush()
        await ledger.mark_refunded(session, payment.id, given.minor)
        if payment.provider == "manual":
            return await _finish(session, row, "succeeded", None, till)
    return row if dry_run else await carry_out(till, row, payment)


async def carry_out(till: Till, row: Refund, payment: Payment) -> Refund:
    """Order a refund whose row is committed, and record the answer. Ordered again, it is given once."""
    provider = till.providers.named(row.provider)
    order = RefundOrder(
        refund=public_id(row.id),
        payment=ledger.public_id(payment.id),
        provider_id=payment.provider_id or "",
        amount=Money(row.currency, row.amount_minor),
        key=row.idempotency_key,
    )
    try:
        seen = await provider.refund(order)
    except ProviderRefusedError as error:
        async with till.database.transaction(organization=row.organization_id) as session:
            found = await _locked(session, row.id)
            return await _finish(session, found, "failed", f"{error.code}: {error.reason}", till)
    except ProviderAwayError:
        return row
    async with till.database.transaction(organization=row.organization_id) as session:
        return await record(session, row.id, seen, till=till)


async def record(session: AsyncSession, refund_id: UUID, seen: SeenRefund, *, till: Till) -> Refund:
    """Write down what the provider has of a refund. One that fails after it succeeded puts the money back."""
    row = await _locked(session, refund_id)
    row.provider_id = seen.provider_id
    if seen.amount != Money(row.currency, row.amount_minor):
        payment = await ledger.locked(session, row.payment_id)
        why = f"refund {public_id(row.id)}: the provider has {seen.amount}"
        await ledger.park(session, payment, why, till.now())
        return row
    if seen.state in {"failed", "canceled"}:
        return await _finish(session, row, seen.state, seen.failure_reason, till)
    if row.state in OPEN:
        return await _finish(session, row, seen.state, None, till)
    return row


async def record_foreign(session: AsyncSession, payment_id: UUID, seen: SeenRefund, *, till: Till) -> Refund:
    """Write down a refund that somebody made at the provider itself; once, by the provider's id."""
    payment = await ledger.locked(session, payment_id)
    row = await session.scalar(
        select(Refund).where(Refund.provider == payment.provider, Refund.provider_id == seen.provider_id)
    )
    if row is None:
        if payment.refunded_minor + seen.amount.minor > payment.amount_minor:
            why = f"refund {seen.provider_id} of {seen.amount} is more than is left of the payment"
            await ledger.park(session, payment, why, till.now())
            raise Refusal(problems.NOT_REFUNDABLE, why)
        row = Refund(
            id=ids.uuid7(),
            organization_id=payment.organization_id,
            payment_id=payment.id,
            provider=payment.provider,
            provider_id=seen.provider_id,
            idempotency_key=f"{payment.provider}-{seen.provider_id}"[:100],
            amount_minor=seen.amount.minor,
            currency=seen.amount.currency,
            reopens=True,
            state="created",
            reason="made at the provider",
            actor=f"provider {payment.provider}",
            created_at=till.now(),
            updated_at=till.now(),
        )
        session.add(row)
        await session.flush()
        await ledger.mark_refunded(session, payment.id, seen.amount.minor)
    return await record(session, row.id, seen, till=till)


async def record_manual(
    till: Till,
    organization_id: UUID,
    amount: Money,
    *,
    reference: str,
    invoice_id: UUID | None,
    note: str | None,
    actor: str,
) -> Payment:
    """Record money that came by bank transfer: to an invoice or the oldest open ones; the rest is balance.

    `reference` is the bank's, so that one transfer is recorded once. Raises `Refusal` 404, 409.
    """
    now = till.now()
    payment_id = ids.uuid7()
    try:
        async with till.database.transaction(organization=organization_id) as session:
            await placing.take_turns(session, organization_id)
            if invoice_id is not None:
                await _own_invoice(session, organization_id, invoice_id, amount)
            row = Payment(
                id=payment_id,
                organization_id=organization_id,
                invoice_id=invoice_id,
                provider="manual",
                provider_id=reference,
                idempotency_key=f"payment-{payment_id.hex}",
                flow="manual",
                amount_minor=amount.minor,
                refunded_minor=0,
                currency=amount.currency,
                state="succeeded",
                note=note,
                actor=actor,
                created_at=now,
                updated_at=now,
                succeeded_at=now,
            )
            session.add(row)
            await session.flush()
            await ledger.allocate(session, row, amount, now=now)
            payload = {"payment": ledger.public_id(row.id)}
            await enqueue(session, PAYMENT_SUCCEEDED, organization=organization_id, payload=payload)
            return row
    except IntegrityError as error:
        if "uq_payments_provider_provider_id" in str(error):
            raise Refusal(problems.PAYMENT_REFERENCE_USED, details={"reference": reference}) from error
        raise


async def _own_invoice(session: AsyncSession, organization_id: UUID, invoice_id: UUID, amount: Money) -> None:
    invoice = await session.scalar(
        select(Invoice).where(Invoice.id == invoice_id, Invoice.organization_id == organization_id)
    )
    if invoice is None or invoice.number is None:
        raise Refusal(problems.NOT_FOUND)
    if invoice.currency != amount.currency:
        raise Refusal(
            problems.NOTHING_TO_PAY, f"The invoice is in {invoice.currency}, not {amount.currency}."
        )


async def _asked_before(session: AsyncSession, organization_id: UUID, key: str | None) -> Refund | None:
    if key is None:
        return None
    found: Refund | None = await session.scalar(
        select(Refund).where(Refund.organization_id == organization_id, Refund.request_key == key)
    )
    return found


async def _refundable(session: AsyncSession, payment: Payment, amount: Money | None) -> Money:
    left = payment.amount_minor - payment.refunded_minor if payment.state == "succeeded" else 0
    left = min(left, await ledger.reversible(session, payment.id))
    wanted = amount or Money(payment.currency, left)
    if wanted.currency != payment.currency or not 0 < wanted.minor <= left:
        raise Refusal(
            problems.NOT_REFUNDABLE, details={"refundable": str(Money(payment.currency, max(0, left)))}
        )
    return wanted


async def _locked(session: AsyncSession, refund_id: UUID) -> Refund:
    found = await session.scalar(
        select(Refund)
        .where(Refund.id == refund_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise Refusal(problems.NOT_FOUND)
    return found


async def _finish(session: AsyncSession, row: Refund, state: str, why: str | None, till: Till) -> Refund:
    """Move a refund on; the money moves with it, once in each direction."""
    if row.state == state:
        return row
    now, amount = till.now(), Money(row.currency, row.amount_minor)
    payment = await ledger.locked(session, row.payment_id)
    if state == "succeeded":
        out = await ledger.reverse(session, payment, amount, reopens=row.reopens, now=now)
        if out.short.minor:
            why_parked = f"refund {public_id(row.id)}: {out.short} of the balance was spent already"
            await ledger.park(session, payment, why_parked, now)
    if state in {"failed", "canceled"}:
        if row.state == "succeeded":
            await ledger.restore(session, payment, amount, reopened=row.reopens, now=now)
        await ledger.mark_refunded(session, payment.id, -row.amount_minor)
    row.state, row.failure_reason, row.updated_at = state, (why or "")[:500] or None, now
    await session.flush()
    return row
