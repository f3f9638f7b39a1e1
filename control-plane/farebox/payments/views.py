"""The endpoints of payments: charge, list, initiate, check out; a payer's own, or any for an operator.

A provider is asked between transactions: a handler opens one to see who asks and ends it before anything
leaves this machine. The caller's `Idempotency-Key` is kept on the payment itself.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.db import enter_organization
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Nothing
from farebox.invoices.model import Invoice
from farebox.money import Money
from farebox.organizations import service as organizations
from farebox.organizations.permissions import Permission, Role, allows
from farebox.pagination import PageQuery, PageView, Sorting, cut
from farebox.payments import accounts, ledger, service
from farebox.payments.accounts import Till
from farebox.payments.fields import (
    InitiatedView,
    InitiateInput,
    PaymentInput,
    PaymentView,
    read_amount,
    shown,
    would_be,
)
from farebox.payments.model import Payment
from farebox.problems import Refusal
from farebox.runtime import CLOCK, DATABASE, PROVIDERS, SETTINGS
from farebox.web import Answer, invalid

TAG = "Payments"
CHARGING: Final = (
    problems.PAYMENTS_UNAVAILABLE,
    problems.PAYMENT_PROVIDER_AWAY,
    problems.PAYMENT_REFUSED,
    problems.PAYMENT_IN_PROGRESS,
    problems.COLLECTED_BY_STRIPE,
)
_NEWEST: Final = "-created_at"
_COLUMNS: Final = Payment.__table__.columns
_SORTING: Final = Sorting({"created_at": _COLUMNS.created_at}, _COLUMNS.id)


def till(call: Call[Any, Any]) -> Till:
    """Return what the verbs work with, as this process holds it."""
    app = call.request.app
    return Till(app[DATABASE], app[PROVIDERS], app[CLOCK], app[SETTINGS].public_url)


def request_key(call: Call[Any, Any]) -> str | None:
    """Return the caller's idempotency key with what tells callers apart, None without one."""
    asked = call.idempotent
    return None if asked is None else f"{asked.scope.split(' ')[0]} {asked.key}"[:300]


async def account(
    call: Call[Any, Any], session: AsyncSession, account_id: str, permission: Permission
) -> UUID:
    """Enter an account that is the caller's own with this permission, or any as an operator.

    Raises `Refusal`: 403 for a role that does not allow it, 404 for everything else.
    """
    public = account_id.removeprefix("org_")
    for own in await organizations.of_user(session, call.user_id):
        if own.public_id == public:
            if not allows(Role(own.role), permission):
                raise Refusal(problems.FORBIDDEN, details={"permission": permission.value})
            await enter_organization(session, own.organization_id)
            return own.organization_id
    return await call.operate_within(account_id)


def _answer(row: Payment) -> Answer[PaymentView]:
    if row.state in {"failed", "canceled", "created"}:
        raise service.refusal(row)
    said = {
        "succeeded": "Payment received.",
        "processing": "The payment is being processed.",
        "requires_action": "The payer has to act: send him to action_url.",
    }
    return Answer(shown(row), said[row.state])


@endpoint(
    "POST", "/payments", "Charge an account",
    tag=TAG, access=Access.USER, body=PaymentInput, data=PaymentView, status=201, begins=False,
    refusals=(*CHARGING, problems.NO_PAYMENT_METHOD, problems.FORBIDDEN, problems.NOT_FOUND),
)  # fmt: skip
async def make(call: Call[PaymentInput, Nothing]) -> Answer[PaymentView]:
    """Charges the account's saved card: an owner his own account, an operator any. The oldest open invoices
    are paid first, and what is left over becomes balance. A refusal carries the provider's reason.
    """
    session = await call.begin()
    organization = await account(call, session, call.body.account_id, Permission.MANAGE_PAYMENTS)
    payer = await accounts.payer(session, organization)
    await call.end()
    amount = read_amount(call.body.amount, payer.currency)
    house = till(call)
    if call.dry_run:
        return Answer(
            would_be(amount, house.providers.collecting(amount.currency).name, call.now), "Would be charged."
        )
    actor = f"user {ids.encode('user', call.user_id)}"
    row = await service.pay(house, organization, amount, actor=actor, request_key=request_key(call))
    return _answer(row)


@endpoint(
    "GET", "/{customer_id}/payments", "List an account's payments",
    tag=TAG, access=Access.USER, query=PageQuery, data=PageView[PaymentView],
    identifiers={"customer_id": "org"},
    refusals=(problems.CURSOR_INVALID, problems.NOT_FOUND, problems.FORBIDDEN),
)  # fmt: skip
async def list_payments(call: Call[Nothing, PageQuery]) -> Answer[PageView[PaymentView]]:
    """Lists payments, newest first: the caller's own account, or any for an operator."""
    public = call.identifier("customer_id")
    organization = await account(call, call.session, public, Permission.VIEW_BILLING)
    statement = select(Payment).where(Payment.organization_id == organization)
    ordered = _SORTING.apply(statement, _NEWEST, continued=call.query.cursor is not None)
    rows = (await call.session.scalars(ordered, _SORTING.parameters(call.query, _NEWEST))).all()
    page, following = cut(rows, call.query, sort=_NEWEST, place=lambda row: (row.created_at, row.id))
    view = PageView[PaymentView](items=[shown(row) for row in page], next_cursor=following)
    return Answer(view, "Payments listed.")


@endpoint(
    "GET", "/payments/{payment_id}", "Show a payment",
    tag=TAG, permission=Permission.VIEW_BILLING, data=PaymentView, identifiers={"payment_id": "pay"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def show(call: Call[Nothing, Nothing]) -> Answer[PaymentView]:
    """Shows a payment of the organization, with the provider's charge id once it succeeded."""
    row = await call.session.get(Payment, call.uuid("payment_id"))
    if row is None:
        raise Refusal(problems.NOT_FOUND)
    return Answer(shown(row), "Payment shown.")


@endpoint(
    "POST", "/billing/initiate-payment", "Begin a payment in the browser",
    tag=TAG, permission=Permission.MANAGE_PAYMENTS, body=InitiateInput, data=InitiatedView, status=201,
    begins=False, refusals=(*CHARGING, problems.NOTHING_TO_PAY, problems.NOT_FOUND),
)  # fmt: skip
async def initiate(call: Call[InitiateInput, Nothing]) -> Answer[InitiatedView]:
    """Begins to pay an invoice's open amount, or an amount of your choice. With Stripe the browser finishes
    it with Elements; with Paystack on its page. Who begins to pay an invoice again gets the same payment.
    """
    await call.begin()
    invoice_id, amount = await _demanded(call)
    payer = await accounts.payer(call.session, call.organization_id)
    await call.end()
    house, actor = till(call), f"user {ids.encode('user', call.user_id)}"
    currency = amount.currency if amount is not None else payer.currency
    provider = house.providers.collecting(currency)
    if call.dry_run:
        view = would_be(amount or Money(currency, 0), provider.name, call.now)
        return Answer(
            InitiatedView(payment=view, client_secret=None, publishable_key=None), "Would be begun."
        )
    what: dict[str, Any] = {
        "actor": actor, "invoice_id": invoice_id, "amount": amount, "request_key": request_key(call),
    }  # fmt: skip
    if provider.name == "stripe":
        row, secret = await service.start_intent(house, call.organization_id, **what)
        key: str | None = call.request.app[SETTINGS].stripe_publishable_key
    else:
        row, secret, key = await service.open_checkout(house, call.organization_id, **what), "", None
    view = shown(row)
    return Answer(
        InitiatedView(payment=view, client_secret=secret or None, publishable_key=key), "Payment begun."
    )


async def _demanded(call: Call[InitiateInput, Nothing]) -> tuple[UUID | None, Money | None]:
    body = call.body
    if (body.invoice_id is None) == (body.amount is None):
        raise invalid("invoice_id", "give either invoice_id or amount")
    if body.invoice_id is not None:
        return await _own_invoice(call, body.invoice_id), None
    payer = await accounts.payer(call.session, call.organization_id)
    return None, read_amount(body.amount or "", payer.currency)


async def _own_invoice(call: Call[Any, Any], text: str) -> UUID:
    try:
        invoice_id = ids.decode("inv", text)
    except ids.MalformedIdError as error:
        raise Refusal(problems.NOT_FOUND) from error
    found = await call.session.scalar(
        select(Invoice.id).where(Invoice.id == invoice_id, Invoice.organization_id == call.organization_id)
    )
    if found is None:
        raise Refusal(problems.NOT_FOUND)
    return invoice_id


@endpoint(
    "POST", "/billing/invoices/{invoice_id}/pay", "Pay an invoice with the saved card",
    tag=TAG, permission=Permission.MANAGE_PAYMENTS, data=PaymentView, status=201, begins=False,
    identifiers={"invoice_id": "inv"},
    refusals=(*CHARGING, problems.NO_PAYMENT_METHOD, problems.NOTHING_TO_PAY, problems.NOT_FOUND),
)  # fmt: skip
async def pay_invoice(call: Call[Nothing, Nothing]) -> Answer[PaymentView]:
    """Charges what is open of the invoice to the saved card."""
    await call.begin()
    invoice_id = await _own_invoice(call, ids.encode("inv", call.uuid("invoice_id")))
    await call.end()
    if call.dry_run:
        return Answer(await _dry(call, invoice_id), "Would be charged.")
    row = await service.collect(
        till(call),
        call.organization_id,
        invoice_id,
        actor=f"user {ids.encode('user', call.user_id)}",
        request_key=request_key(call),
    )
    return _answer(row)


@endpoint(
    "POST", "/billing/invoices/{invoice_id}/checkout", "Open a page to pay an invoice on",
    tag=TAG, permission=Permission.MANAGE_PAYMENTS, data=PaymentView, status=201, begins=False,
    identifiers={"invoice_id": "inv"}, refusals=(*CHARGING, problems.NOTHING_TO_PAY, problems.NOT_FOUND),
)  # fmt: skip
async def checkout(call: Call[Nothing, Nothing]) -> Answer[PaymentView]:
    """Opens the provider's page for what is open of the invoice; `action_url` is its address."""
    await call.begin()
    invoice_id = await _own_invoice(call, ids.encode("inv", call.uuid("invoice_id")))
    await call.end()
    if call.dry_run:
        return Answer(await _dry(call, invoice_id), "Would be opened.")
    row = await service.open_checkout(
        till(call),
        call.organization_id,
        actor=f"user {ids.encode('user', call.user_id)}",
        invoice_id=invoice_id,
        request_key=request_key(call),
    )
    return _answer(row)


async def _dry(call: Call[Any, Any], invoice_id: UUID) -> PaymentView:
    session = await call.begin()
    invoice = await session.get_one(Invoice, invoice_id)
    if invoice.state not in ledger.OWING or not invoice.open_minor:
        raise Refusal(problems.NOTHING_TO_PAY, details={"state": invoice.state})
    amount = Money(invoice.currency, invoice.open_minor)
    return would_be(amount, till(call).providers.collecting(amount.currency).name, call.now)


ENDPOINTS: Endpoints = (make, list_payments, show, initiate, pay_invoice, checkout)
