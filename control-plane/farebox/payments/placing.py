"""Placing a payment: the row that is committed before any provider is asked, and what may stand in its way.

Placing takes turns within an organization, so that two browsers, a timer and an operator never charge one
debt at once. Knows no provider's ways.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.invoices.model import Invoice
from farebox.money import Money
from farebox.payments import cards
from farebox.payments.accounts import Payer
from farebox.payments.ledger import LIVE, OWING, public_id
from farebox.payments.managed import choosing
from farebox.payments.model import Payment, ProviderCustomer
from farebox.payments.provider import Order
from farebox.problems import Refusal

Flow = Literal["charge", "intent", "checkout"]
_TAKE_TURNS: Final = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('farebox payments ' || CAST(:organization AS text), 0))"
)
_UNDER_WAY: Final = ("created", "processing")


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be paid: an invoice's open amount, or an amount of the payer's choice (`amount`).

    `request_key` is the caller's own idempotency key, with what tells callers apart.
    """

    organization_id: UUID
    flow: Flow
    actor: str
    invoice_id: UUID | None = None
    amount: Money | None = None
    request_key: str | None = None
    return_url: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A row that is ours to carry out (`order`), or one from before that answers the demand (no order)."""

    payment: Payment
    order: Order | None


@dataclass(frozen=True, slots=True)
class InTheWay:
    """An attempt that waits for a person, to be given up before a new one is placed."""

    payment: Payment


async def take_turns(session: AsyncSession, organization_id: UUID) -> None:
    """Let one transaction of the organization at a time place payments and refunds."""
    await session.execute(_TAKE_TURNS, {"organization": str(organization_id)})


async def place(
    session: AsyncSession,
    demand: Demand,
    payer: Payer,
    customer: ProviderCustomer,
    *,
    public_url: str,
    now: datetime,
) -> Placed | InTheWay:
    """Write the row of a new attempt. Raises `Refusal`: 404, 409 where nothing is open, no card is saved,
    another attempt is under way or Stripe collects by itself, 422 for a request key that came with
    another payment.
    """
    await take_turns(session, demand.organization_id)
    before = await _asked_before(session, demand)
    if before is not None:
        return Placed(before, None)
    # Attempts first, the invoice after them: one that succeeds in between, which takes no turn, is then seen
    # as live or its invoice as paid, never as neither.
    live = await _live(session, demand)
    invoice = await _owing(session, demand) if demand.invoice_id is not None else None
    amount = demand.amount or _open(invoice)
    for other in live:
        if other.state in _UNDER_WAY:
            raise Refusal(problems.PAYMENT_IN_PROGRESS, details={"payment": public_id(other.id)})
        is_same = other.flow == demand.flow and Money(other.currency, other.amount_minor) == amount
        if is_same and demand.flow != "charge":
            return Placed(other, None)
        return InTheWay(other)
    method = None
    if demand.flow == "charge":
        saved = await cards.default(session, demand.organization_id, provider=customer.provider)
        if saved is None:
            raise Refusal(problems.NO_PAYMENT_METHOD)
        method = saved.provider_id
    row = _row(demand, customer.provider, amount, now)
    session.add(row)
    await session.flush()
    number = invoice.number if invoice is not None else None
    return Placed(row, order_of(row, payer, customer, number=number, method=method, public_url=public_url))


def order_of(
    row: Payment,
    payer: Payer,
    customer: ProviderCustomer,
    *,
    number: str | None,
    method: str | None,
    public_url: str,
) -> Order:
    """Return the order that the row stands for: the same each time, so that it can be sent again."""
    return Order(
        payment=public_id(row.id),
        organization=f"org_{payer.public_id}",
        invoice=ids.encode("inv", row.invoice_id) if row.invoice_id is not None else None,
        amount=Money(row.currency, row.amount_minor),
        key=row.idempotency_key,
        customer=customer.provider_id,
        email=customer.email,
        description=f"Invoice {number}" if number else f"Payment to the account of {payer.name}"[:200],
        return_url=f"{public_url.rstrip('/')}/portal/payments/{public_id(row.id)}",
        placed_at=row.created_at,
        method=method,
    )


def _row(demand: Demand, provider: str, amount: Money, now: datetime) -> Payment:
    payment_id = ids.uuid7()
    return Payment(
        id=payment_id,
        organization_id=demand.organization_id,
        invoice_id=demand.invoice_id,
        provider=provider,
        idempotency_key=f"payment-{payment_id.hex}",
        request_key=demand.request_key,
        flow=demand.flow,
        amount_minor=amount.minor,
        refunded_minor=0,
        currency=amount.currency,
        state="created",
        actor=demand.actor,
        created_at=now,
        updated_at=now,
    )


async def _asked_before(session: AsyncSession, demand: Demand) -> Payment | None:
    if demand.request_key is None:
        return None
    found: Payment | None = await session.scalar(
        select(Payment).where(
            Payment.organization_id == demand.organization_id, Payment.request_key == demand.request_key
        )
    )
    if found is None:
        return None
    amount = Money(found.currency, found.amount_minor)
    if found.invoice_id != demand.invoice_id or (demand.amount or amount) != amount:
        raise Refusal(problems.IDEMPOTENCY_KEY_REUSED)
    return found


async def _owing(session: AsyncSession, demand: Demand) -> Invoice:
    invoice: Invoice | None = await session.scalar(
        select(Invoice).where(
            Invoice.id == demand.invoice_id, Invoice.organization_id == demand.organization_id
        )
    )
    if invoice is None:
        raise Refusal(problems.NOT_FOUND)
    if invoice.state not in OWING or not invoice.open_minor:
        raise Refusal(problems.NOTHING_TO_PAY, details={"state": invoice.state})
    if await choosing.collects(session, invoice):
        raise Refusal(problems.COLLECTED_BY_STRIPE)
    return invoice


def _open(invoice: Invoice | None) -> Money:
    if invoice is None or invoice.open_minor is None:
        raise ValueError("a demand names an invoice or an amount")
    return Money(invoice.currency, invoice.open_minor)


async def _live(session: AsyncSession, demand: Demand) -> list[Payment]:
    """Return live attempts at the same debt: those under way first, as they cannot be given up."""
    if demand.invoice_id is None:
        same = or_(Payment.invoice_id.is_(None), Payment.state.in_(_UNDER_WAY))
    else:
        # Another invoice's charge is no hindrance; one without an invoice may be for this one too.
        same = or_(
            Payment.invoice_id == demand.invoice_id,
            Payment.invoice_id.is_(None) & Payment.state.in_(_UNDER_WAY),
        )
    found = await session.scalars(
        select(Payment)
        .where(Payment.organization_id == demand.organization_id, Payment.state.in_(LIVE), same)
        .order_by(Payment.state.in_(_UNDER_WAY).desc(), Payment.id)
    )
    return list(found)
