"""The endpoints of operators: refunds, and money that came by bank transfer."""

from sqlalchemy import select

from farebox import ids, problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Nothing
from farebox.organizations.model import Organization
from farebox.payments import accounts, service
from farebox.payments.fields import (
    ManualInput,
    PaymentView,
    RefundInput,
    RefundView,
    read_amount,
    shown,
    shown_refund,
    would_be,
)
from farebox.payments.model import Payment
from farebox.payments.views import request_key, till
from farebox.problems import Refusal
from farebox.web import Answer

TAG = "Operators"


@endpoint(
    "POST", "/admin/payments/{payment_id}/refunds", "Refund a payment",
    tag=TAG, access=Access.OPERATOR, body=RefundInput, data=RefundView, status=201, begins=False,
    identifiers={"payment_id": "pay"},
    refusals=(
        problems.NOT_FOUND, problems.NOT_REFUNDABLE, problems.PAYMENT_REFUSED, problems.PAYMENT_PROVIDER_AWAY,
        problems.PAYMENTS_UNAVAILABLE,
    ),
)  # fmt: skip
async def refund(call: Call[RefundInput, Nothing]) -> Answer[RefundView]:
    """Gives back a payment or a part of it. Its invoices ask for the amount again, unless a credit note has
    settled that (`reopens_invoices` false).
    """
    session = await call.begin()
    found = (
        await session.execute(
            select(Payment, Organization.public_id)
            .join(Organization, Organization.id == Payment.organization_id)
            .where(Payment.id == call.uuid("payment_id"))
        )
    ).one_or_none()
    if found is None:
        raise Refusal(problems.NOT_FOUND)
    payment, public = found
    organization = await call.operate_within(public)
    await call.end()
    amount = read_amount(call.body.amount, payment.currency) if call.body.amount is not None else None
    row = await service.refund(
        till(call),
        organization,
        payment.id,
        amount=amount,
        reason=call.body.reason,
        reopens=call.body.reopens_invoices,
        actor=f"operator {ids.encode('user', call.user_id)}",
        request_key=request_key(call),
        dry_run=call.dry_run,
    )
    if row.state == "failed":
        reason = row.failure_reason or "no reason given"
        raise Refusal(
            problems.PAYMENT_REFUSED, f"The refund was refused: {reason}", details={"reason": reason}
        )
    if row.state == "created" and not call.dry_run:
        raise Refusal(problems.PAYMENT_PROVIDER_AWAY, details={"refund": shown_refund(row).id})
    return Answer(shown_refund(row), "Refunded.")


@endpoint(
    "POST", "/admin/payments", "Record a bank transfer",
    tag=TAG, access=Access.OPERATOR, body=ManualInput, data=PaymentView, status=201, begins=False,
    refusals=(problems.NOT_FOUND, problems.PAYMENT_REFERENCE_USED, problems.NOTHING_TO_PAY),
)  # fmt: skip
async def record(call: Call[ManualInput, Nothing]) -> Answer[PaymentView]:
    """Records money that came by another way, to an invoice or the oldest open ones; the rest is balance."""
    session = await call.begin()
    organization = await call.operate_within(call.body.account_id)
    payer = await accounts.payer(session, organization)
    await call.end()
    amount = read_amount(call.body.amount, payer.currency)
    if call.dry_run:
        return Answer(would_be(amount, "manual", call.now), "Would be recorded.")
    try:
        named = call.body.invoice_id
        invoice_id = ids.decode("inv", named) if named is not None else None
    except ids.MalformedIdError as error:
        raise Refusal(problems.NOT_FOUND) from error
    row = await service.record_manual(
        till(call),
        organization,
        amount,
        reference=call.body.reference,
        invoice_id=invoice_id,
        note=call.body.note,
        actor=f"operator {ids.encode('user', call.user_id)}",
    )
    return Answer(shown(row), "Payment recorded.")


ENDPOINTS: Endpoints = (refund, record)
