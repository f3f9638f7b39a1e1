"""Getting money: place the row, ask the provider outside any transaction, record what came of it.

Dies anywhere without harm: a row that was placed and not recorded is found and finished by the worker, which
asks the provider by the order's own name.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select

from farebox import problems
from farebox.invoices.model import Invoice
from farebox.money import Money
from farebox.payments import accounts, ledger, placing
from farebox.payments.accounts import Till
from farebox.payments.model import Payment
from farebox.payments.placing import Demand, InTheWay, Placed
from farebox.payments.provider import (
    Order,
    Page,
    Provider,
    ProviderAwayError,
    ProviderRefusedError,
    Seen,
)
from farebox.problems import Refusal

_TRIES = 3
PAGE_LIFE: Final = timedelta(hours=1)
"""After which a page that cannot be closed no longer keeps others from paying: what comes late is balance."""


async def collect(
    till: Till, organization_id: UUID, invoice_id: UUID, *, actor: str, request_key: str | None = None
) -> Payment:
    """Charge an invoice's open amount to the saved card, with nobody there.

    Returns the payment: `succeeded`, `failed` (with the provider's reason), `requires_action` (`action_url`
    is for the holder), `processing`, or `created`: the provider did not answer, and the worker finishes it.
    Raises `Refusal` as `placing.place` does, and 503 where no provider is set up.
    """
    demand = Demand(organization_id, "charge", actor, invoice_id=invoice_id, request_key=request_key)
    return await _charge(till, demand)


async def pay(
    till: Till, organization_id: UUID, amount: Money, *, actor: str, request_key: str | None = None
) -> Payment:
    """Charge an amount to the saved card: it pays the oldest open invoices, and the rest becomes balance.

    Returns and raises as `collect` does.
    """
    demand = Demand(organization_id, "charge", actor, amount=amount, request_key=request_key)
    return await _charge(till, demand)


async def _charge(till: Till, demand: Demand) -> Payment:
    provider, placed = await _place(till, demand)
    if placed.order is None:
        return placed.payment
    return await carry_out(till, provider, placed.payment, placed.order)


async def carry_out(till: Till, provider: Provider, row: Payment, order: Order) -> Payment:
    """Send the order of a row that is committed, and record the answer. Sent again, it charges once."""
    try:
        seen = await provider.charge(order)
    except ProviderRefusedError as error:
        return await _failed(till, row, error)
    except ProviderAwayError:
        return row
    return await record(till, row, seen)


async def start_intent(
    till: Till,
    organization_id: UUID,
    *,
    actor: str,
    invoice_id: UUID | None = None,
    amount: Money | None = None,
    request_key: str | None = None,
) -> tuple[Payment, str]:
    """Begin a payment that a browser confirms with Stripe's Elements; returns it with its client secret.

    Two browsers that begin to pay one invoice get the same intent, which can succeed once. Raises `Refusal`.
    """
    stripe = till.providers.elements()
    demand = Demand(organization_id, "intent", actor, invoice_id, amount, request_key)
    _, placed = await _place(till, demand, provider=stripe)
    try:
        if placed.order is not None:
            seen = await stripe.intent(placed.order)
        elif placed.payment.provider_id is not None:
            seen = await stripe.observe(placed.payment.provider_id)
        else:
            raise Refusal(
                problems.PAYMENT_IN_PROGRESS, details={"payment": ledger.public_id(placed.payment.id)}
            )
    except ProviderRefusedError as error:
        raise refusal(await _failed(till, placed.payment, error)) from error
    except ProviderAwayError as error:
        raise refusal(placed.payment) from error
    return await record(till, placed.payment, seen), seen.secret or ""


async def open_checkout(
    till: Till,
    organization_id: UUID,
    *,
    actor: str,
    invoice_id: UUID | None = None,
    amount: Money | None = None,
    request_key: str | None = None,
) -> Payment:
    """Open the provider's own page for the payment; `action_url` is its address. Raises `Refusal`."""
    demand = Demand(organization_id, "checkout", actor, invoice_id, amount, request_key)
    provider, placed = await _place(till, demand)
    if placed.order is None:
        return placed.payment
    try:
        page = await provider.page(placed.order)
    except ProviderRefusedError as error:
        raise refusal(await _failed(till, placed.payment, error)) from error
    except ProviderAwayError as error:
        raise refusal(placed.payment) from error
    return await record_page(till, placed.payment, page)


async def record(till: Till, row: Payment, seen: Seen) -> Payment:
    """Write down what the provider has, in a transaction of its own."""
    async with till.database.transaction(organization=row.organization_id) as session:
        return await ledger.record(session, row.id, seen, now=till.now())


async def record_page(till: Till, row: Payment, page: Page) -> Payment:
    """Write down what became of a page: open, paid (then its payment is looked at) or over."""
    if page.provider_id is not None:
        return await record(till, row, await till.providers.named(row.provider).observe(page.provider_id))
    now = till.now()
    async with till.database.transaction(organization=row.organization_id) as session:
        if page.state == "expired":
            return await ledger.fail(
                session, row.id, code="expired", reason="Nobody paid on the page.", state="canceled", now=now
            )
        found = await ledger.locked(session, row.id)
        if found.state in ledger.LIVE and page.state == "open":
            found.checkout_id, found.action_url = page.page_id, page.url or found.action_url
            found.state, found.updated_at = "requires_action", now
            await session.flush()
        return found


async def give_up(till: Till, row: Payment) -> Payment:
    """Give up an attempt that waits for a person; one that was paid in the meantime is recorded as paid."""
    provider = till.providers.named(row.provider)
    if row.checkout_id is not None and row.provider_id is None:
        found = await record_page(till, row, await provider.close_page(row.checkout_id))
        if found.state not in ledger.LIVE or till.now() - row.created_at < PAGE_LIFE:
            return found
        async with till.database.transaction(organization=row.organization_id) as session:
            reason = "Nobody paid on the page within an hour."
            return await ledger.fail(
                session, row.id, code="abandoned", reason=reason, state="canceled", now=till.now()
            )
    if row.provider_id is None:
        return row
    return await record(till, row, await provider.cancel(row.provider_id))


def refusal(row: Payment) -> Refusal:
    """Return the refusal for a payment that did not come to be: with the provider's own reason."""
    details = {"payment": ledger.public_id(row.id)}
    if row.state == "created":
        return Refusal(problems.PAYMENT_PROVIDER_AWAY, details=details, headers={"Retry-After": "120"})
    reason = row.failure_reason or "no reason given"
    return Refusal(
        problems.PAYMENT_REFUSED,
        f"The payment was refused: {reason}",
        details={**details, "code": row.failure_code or "refused", "reason": reason},
    )


async def _place(till: Till, demand: Demand, *, provider: Provider | None = None) -> tuple[Provider, Placed]:
    organization = demand.organization_id
    async with till.database.transaction(organization=organization) as session:
        payer = await accounts.payer(session, organization)
        currency = demand.amount.currency if demand.amount is not None else payer.currency
        if demand.invoice_id is not None:
            found = await session.scalar(select(Invoice.currency).where(Invoice.id == demand.invoice_id))
            currency = found or currency
    chosen = provider or till.providers.collecting(currency)
    try:
        customer = await accounts.make_known(till, chosen, organization)
    except (ProviderRefusedError, ProviderAwayError) as error:
        raise Refusal(
            problems.PAYMENTS_UNAVAILABLE,
            "The payment provider cannot be asked now. Nothing was charged.",
            details={"provider": chosen.name, "code": error.code, "reason": error.reason},
        ) from error
    for _ in range(_TRIES):
        async with till.database.transaction(organization=organization) as session:
            placed = await placing.place(
                session, demand, payer, customer, public_url=till.public_url, now=till.now()
            )
        if isinstance(placed, Placed):
            return chosen, placed
        await _clear(till, placed)
    raise Refusal(problems.PAYMENT_IN_PROGRESS)


async def _clear(till: Till, obstacle: InTheWay) -> None:
    try:
        row = await give_up(till, obstacle.payment)
    except (ProviderRefusedError, ProviderAwayError) as error:
        raise Refusal(
            problems.PAYMENT_IN_PROGRESS,
            details={"payment": ledger.public_id(obstacle.payment.id)},
            log=str(error),
        ) from error
    if row.state in ledger.LIVE:
        raise Refusal(problems.PAYMENT_IN_PROGRESS, details={"payment": ledger.public_id(row.id)})


async def _failed(till: Till, row: Payment, error: ProviderRefusedError) -> Payment:
    async with till.database.transaction(organization=row.organization_id) as session:
        return await ledger.fail(
            session, row.id, code=error.code, reason=error.reason, state="failed", now=till.now()
        )
