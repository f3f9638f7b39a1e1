"""What an event means: which object to look at. The object is fetched anew and what it is now is
recorded, so events may come twice, late and in any order. Nothing of an event's own amounts is believed.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import select

from farebox import ids
from farebox.payments import cards, charging, disputing, refunding
from farebox.payments.accounts import Till
from farebox.payments.model import Payment, ProviderCustomer
from farebox.payments.provider import Seen, SeenDispute, SeenRefund
from farebox_worker.payments import looking

Outcome = Literal["done", "ignored"]


class ParkedError(Exception):
    """What the provider says and what we know do not fit; a person must look."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the inbox."""

    provider: str
    kind: str
    body: bytes

    @property
    def object(self) -> Mapping[str, Any]:
        """The object that it is about, as it was then."""
        read = msgspec.json.decode(self.body)
        data = read.get("data") if isinstance(read, dict) else None
        found = data.get("object") if self.provider == "stripe" and isinstance(data, dict) else data
        if not isinstance(found, dict):
            raise ParkedError("the event names no object")
        return found

    def text(self, name: str) -> str:
        """A text of the object's. Raises `ParkedError` if it is none."""
        value = self.object.get(name)
        if not isinstance(value, str) or not value:
            raise ParkedError(f"the event's object has no {name}")
        return value


async def handle(till: Till, event: Event) -> Outcome:
    """Do what the event is about. Raises `ParkedError`, and what providers raise."""
    handlers = _STRIPE if event.provider == "stripe" else _PAYSTACK
    for prefix, handler in handlers.items():
        if event.kind.startswith(prefix):
            return await handler(till, event)
    return "ignored"


async def payment_of(till: Till, provider: str, provider_id: str, named: str | None) -> Payment | None:
    """Return our row for a provider's payment: by its id there, or by our own id that it carries."""
    async with till.database.transaction() as session:
        found = await session.scalar(
            select(Payment).where(Payment.provider == provider, Payment.provider_id == provider_id)
        )
        if found is not None or named is None:
            return found
        own = _own_id(named)
        row = await session.get(Payment, own) if own is not None else None
        return row if row is not None and row.provider == provider else None


async def take(till: Till, provider: str, seen: Seen) -> Outcome:
    """Record a payment as it is now. Raises `ParkedError` if it names a payment that we do not have."""
    row = await payment_of(till, provider, seen.provider_id, seen.payment)
    if row is None:
        if seen.payment is not None:
            raise ParkedError(f"{seen.provider_id} names the payment {seen.payment}, which is not here")
        return "ignored"
    parked = (await charging.record(till, row, seen)).parked
    if parked is not None:
        raise ParkedError(parked)
    return "done"


async def take_refund(till: Till, provider: str, seen: SeenRefund) -> Outcome:
    """Record a refund as it is now, ours or one that was made at the provider."""
    row = await payment_of(till, provider, seen.payment, None)
    if row is None:
        return "ignored"
    own = _own_id(seen.refund, "rfd") if seen.refund is not None else None
    async with till.database.transaction(organization=row.organization_id) as session:
        if own is not None:
            await refunding.record(session, own, seen, till=till)
        else:
            await refunding.record_foreign(session, row.id, seen, till=till)
    return "done"


async def take_dispute(till: Till, provider: str, seen: SeenDispute) -> Outcome:
    """Record a dispute as it is now."""
    row = await payment_of(till, provider, seen.payment, None)
    if row is None:
        return "ignored"
    async with till.database.transaction(organization=row.organization_id) as session:
        await disputing.record(session, row, seen, now=till.now())
    return "done"


def _own_id(text: str, prefix: str = "pay") -> UUID | None:
    try:
        return ids.decode(prefix, text)
    except ids.MalformedIdError:
        return None


async def _stripe_payment(till: Till, event: Event) -> Outcome:
    return await take(till, "stripe", await till.providers.elements().observe(event.text("id")))


async def _stripe_checkout(till: Till, event: Event) -> Outcome:
    page = await till.providers.elements().observe_page(event.text("id"))
    own = _own_id(page.payment or "")
    if own is None:
        return "ignored"
    async with till.database.transaction() as session:
        row = await session.get(Payment, own)
    if row is None:
        raise ParkedError(f"{page.page_id} names the payment {page.payment}, which is not here")
    await charging.record_page(till, row, page)
    return "done"


async def _stripe_refund(till: Till, event: Event) -> Outcome:
    seen = await till.providers.elements().refund_seen(event.text("id"))
    return await take_refund(till, "stripe", seen)


async def _stripe_dispute(till: Till, event: Event) -> Outcome:
    seen = await till.providers.elements().dispute(event.text("id"))
    return await take_dispute(till, "stripe", seen)


async def _stripe_setup(till: Till, event: Event) -> Outcome:
    customer, card = await till.providers.elements().saved_by(event.text("id"))
    async with till.database.transaction() as session:
        owner = await session.scalar(
            select(ProviderCustomer.organization_id).where(
                ProviderCustomer.provider == "stripe", ProviderCustomer.provider_id == customer
            )
        )
    if owner is None or card is None:
        return "ignored"
    async with till.database.transaction(organization=owner) as session:
        await cards.keep(session, owner, "stripe", card, now=till.now())
    return "done"


async def _stripe_subscription(till: Till, event: Event) -> Outcome:
    return "done" if await looking.look(till, event.text("id")) else "ignored"


async def _stripe_invoice(till: Till, event: Event) -> Outcome:
    if event.kind == "invoice.upcoming":  # a preview, which has no id
        return "ignored"
    return "done" if await looking.look_at_invoice(till, event.text("id")) else "ignored"


async def _paystack_payment(till: Till, event: Event) -> Outcome:
    return await take(
        till, "paystack", await till.providers.named("paystack").observe(event.text("reference"))
    )


async def _paystack_refund(till: Till, event: Event) -> Outcome:
    provider = till.providers.named("paystack")
    outcome: Outcome = "ignored"
    for seen in await provider.refunds_of(event.text("transaction_reference")):
        outcome = await take_refund(till, "paystack", seen)
    return outcome


Handler = Callable[[Till, Event], Awaitable[Outcome]]
_STRIPE: Final[Mapping[str, Handler]] = {
    "payment_intent.": _stripe_payment,
    "checkout.session.": _stripe_checkout,
    "refund.": _stripe_refund,
    "charge.refund.": _stripe_refund,
    "charge.dispute.": _stripe_dispute,
    "setup_intent.succeeded": _stripe_setup,
    "customer.subscription.": _stripe_subscription,
    "invoice.": _stripe_invoice,
}
_PAYSTACK: Final[Mapping[str, Handler]] = {"charge.": _paystack_payment, "refund.": _paystack_refund}
