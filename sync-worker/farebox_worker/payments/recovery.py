"""Payments and refunds that were placed and never recorded: a process died, or the provider did not answer.

The provider is asked by the order's own name. What it has is recorded; what it never got is given up, and
can then be tried anew. Waits longer than any request takes: what is on its way is not given up.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select

from farebox.payments import accounts, charging, ledger, placing, refunding
from farebox.payments.accounts import Till
from farebox.payments.model import Payment, Refund
from farebox.payments.provider import ProviderError
from farebox.problems import Refusal
from farebox_worker.supervision import describe

UNANSWERED: Final = timedelta(minutes=3)
"""Longer than the longest request with its retries."""
WAITING: Final = timedelta(hours=1)
"""How often one that waits for the bank or for a person is looked at, should its webhook be lost."""
ABANDONED: Final = timedelta(hours=24)
"""After which a payment that nobody finished is given up."""
BATCH: Final = 100
_FIRST: Final = UUID(int=0)
log = structlog.get_logger(__name__)


async def recover(till: Till) -> int:
    """Look at everything that is open for too long; returns how many were moved on."""
    moved, after = 0, _FIRST
    while payments := await _payments(till, after):
        for row in payments:
            moved += await _guarded(till, row)
        after = payments[-1].id
    after = _FIRST
    while refunds := await _refunds(till, after):
        for refund, payment in refunds:
            moved += await _refund(till, refund, payment)
        after = refunds[-1][0].id
    return moved


async def _refund(till: Till, refund: Refund, payment: Payment) -> int:
    before = refund.state
    try:
        return int((await refunding.carry_out(till, refund, payment)).state != before)
    except (ProviderError, Refusal) as error:
        log.warning("refund_not_recovered", refund=refunding.public_id(refund.id), error=describe(error))
        return 0


async def _guarded(till: Till, row: Payment) -> int:
    before = row.state
    try:
        return int((await _payment(till, row)).state != before)
    except (ProviderError, Refusal) as error:
        log.warning("payment_not_recovered", payment=ledger.public_id(row.id), error=describe(error))
        return 0


async def _payment(till: Till, row: Payment) -> Payment:
    provider = till.providers.named(row.provider)
    if till.now() - row.created_at >= ABANDONED and row.state == "requires_action":
        return await charging.give_up(till, row)
    if row.checkout_id is not None and row.provider_id is None:
        return await charging.record_page(till, row, await provider.observe_page(row.checkout_id))
    if row.provider_id is not None:
        return await charging.record(till, row, await provider.observe(row.provider_id))
    async with till.database.transaction(organization=row.organization_id) as session:
        payer = await accounts.payer(session, row.organization_id)
        customer = await accounts.known(session, row.organization_id, row.provider)
    seen = None
    if customer is not None:
        order = placing.order_of(row, payer, customer, number=None, method=None, public_url=till.public_url)
        seen = await provider.find(order)
    if seen is not None:
        return await charging.record(till, row, seen)
    async with till.database.transaction(organization=row.organization_id) as session:
        return await ledger.fail(
            session,
            row.id,
            code="never_arrived",
            reason="The provider never got it; nothing was charged.",
            state="canceled",
            now=till.now(),
        )


async def _payments(till: Till, after: UUID) -> list[Payment]:
    now = till.now()
    unanswered = (Payment.state == "created") & (Payment.updated_at < now - UNANSWERED)
    waiting = Payment.state.in_(("processing", "requires_action")) & (Payment.updated_at < now - WAITING)
    async with till.database.transaction() as session:
        found = await session.scalars(
            select(Payment).where(unanswered | waiting, Payment.id > after).order_by(Payment.id).limit(BATCH)
        )
        return list(found)


async def _refunds(till: Till, after: UUID) -> list[tuple[Refund, Payment]]:
    now = till.now()
    unanswered = (Refund.state == "created") & (Refund.updated_at < now - UNANSWERED)
    waiting = (Refund.state == "processing") & (Refund.updated_at < now - WAITING)
    async with till.database.transaction() as session:
        found = await session.execute(
            select(Refund, Payment)
            .join(Payment, Payment.id == Refund.payment_id)
            .where(unanswered | waiting, Refund.id > after)
            .order_by(Refund.id)
            .limit(BATCH)
        )
        return [(row[0], row[1]) for row in found]
