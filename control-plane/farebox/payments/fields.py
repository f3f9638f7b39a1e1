"""How payments are asked for and shown."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from farebox import ids
from farebox.billing.fields import MoneyView, money
from farebox.fields import Input, Instant, View
from farebox.money import Money
from farebox.organizations.fields import OrganizationId
from farebox.payments import amounts, refunding
from farebox.payments.ledger import public_id
from farebox.payments.model import Payment, PaymentMethod, Refund
from farebox.web import invalid

Amount = Annotated[
    str,
    StringConstraints(max_length=40),
    WithJsonSchema(
        {"type": "string", "pattern": amounts.AMOUNT_PATTERN, "examples": ["42.99"]}, mode="validation"
    ),
    Field(description="Major units of the account's currency, with none or all of its decimals."),
]
InvoiceId = Annotated[str, StringConstraints(pattern=r"^inv_[0-9a-z]{26}$")]
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ._/\-]{1,100}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")]


class PaymentInput(Input):
    """An amount to charge to the saved card."""

    account_id: OrganizationId
    amount: Amount


class InitiateInput(Input):
    """What to pay: an invoice's open amount, or an amount for the account."""

    invoice_id: InvoiceId | None = None
    amount: Annotated[Amount | None, Field(examples=[None])] = None


class SavedInput(Input):
    """The SetupIntent that a browser has confirmed."""

    setup_id: Annotated[str, StringConstraints(pattern=r"^seti_[A-Za-z0-9_]{1,100}$")]


class RefundInput(Input):
    """What to give back."""

    amount: Annotated[Amount | None, Field(description="Left out: all that is left of the payment.")] = None
    reason: Text
    reopens_invoices: Annotated[
        bool,
        Field(description="False where a credit note has settled it: the invoice then asks for nothing."),
    ] = True


class ManualInput(Input):
    """Money that came by bank transfer."""

    account_id: OrganizationId
    amount: Amount
    reference: Annotated[Reference, Field(description="The bank's reference; each is recorded once.")]
    invoice_id: InvoiceId | None = None
    note: Text | None = None


class FailureView(View):
    """Why the money did not come, in the provider's words."""

    code: str
    reason: str


class PaymentView(View):
    """One payment."""

    id: Annotated[str, Field(examples=["pay_01kaj3m9x2e8r9v0c7w1q5t4yz"])]
    invoice_id: Annotated[str | None, Field(description="Null: it paid what was oldest.")]
    provider: Literal["stripe", "paystack", "manual"]
    provider_id: str | None
    charge_id: str | None
    amount: MoneyView
    refunded: MoneyView
    state: Literal["created", "processing", "requires_action", "succeeded", "failed", "canceled"]
    failure: FailureView | None
    action_url: Annotated[str | None, Field(description="Where the payer goes on, while it waits for him.")]
    postal_check: Annotated[str | None, Field(description="What the bank said of the postal code.")]
    created_at: Instant
    succeeded_at: Instant | None


class InitiatedView(View):
    """A payment to be finished in the browser: with Elements (`client_secret`), or at `action_url`."""

    payment: PaymentView
    client_secret: str | None
    publishable_key: str | None


class SetupView(View):
    """What Elements needs to save a card."""

    setup_id: str
    client_secret: str
    publishable_key: str


class CardView(View):
    """A saved card."""

    id: Annotated[str, Field(examples=["card_01kaj3m9x2e8r9v0c7w1q5t4yz"])]
    provider: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    postal_check: str | None
    is_default: bool
    created_at: Instant


class CardsView(View):
    """The saved cards, the default first."""

    items: list[CardView]


class RefundView(View):
    """One refund."""

    id: str
    payment_id: str
    provider_id: str | None
    amount: MoneyView
    state: Literal["created", "processing", "succeeded", "failed", "canceled"]
    reason: str
    failure_reason: str | None
    created_at: Instant


def read_amount(text: str, currency: str) -> Money:
    """Read the field `amount`. Raises `Refusal` 422 with the remedy."""
    try:
        return amounts.parse(text, currency)
    except amounts.AmountError as error:
        raise invalid("amount", str(error)) from error


def shown(row: Payment) -> PaymentView:
    """Show a payment."""
    failed = row.failure_code is not None and row.state != "succeeded"
    failure = {"code": row.failure_code, "reason": row.failure_reason or "no reason given"}
    waits = row.state == "requires_action"
    return PaymentView.model_validate(
        {
            "id": public_id(row.id),
            "invoice_id": ids.encode("inv", row.invoice_id) if row.invoice_id is not None else None,
            "provider": row.provider,
            "provider_id": row.provider_id,
            "charge_id": row.charge_id,
            "amount": money(Money(row.currency, row.amount_minor)),
            "refunded": money(Money(row.currency, row.refunded_minor)),
            "state": row.state,
            "failure": failure if failed else None,
            "action_url": row.action_url if waits else None,
            "postal_check": row.postal_check,
            "created_at": row.created_at,
            "succeeded_at": row.succeeded_at,
        }
    )


def shown_card(row: PaymentMethod) -> CardView:
    """Show a saved card."""
    return CardView(
        id=ids.encode("card", row.id),
        provider=row.provider,
        brand=row.brand,
        last4=row.last4,
        exp_month=row.exp_month,
        exp_year=row.exp_year,
        postal_check=row.postal_check,
        is_default=row.is_default,
        created_at=row.created_at,
    )


def shown_refund(row: Refund) -> RefundView:
    """Show a refund."""
    return RefundView.model_validate(
        {
            "id": refunding.public_id(row.id),
            "payment_id": public_id(row.payment_id),
            "provider_id": row.provider_id,
            "amount": money(Money(row.currency, row.amount_minor)),
            "state": row.state,
            "reason": row.reason,
            "failure_reason": row.failure_reason,
            "created_at": row.created_at,
        }
    )


def would_be(organization_currency: Money, provider: str, now: datetime) -> PaymentView:
    """Show the payment that a dry run would have made."""
    return PaymentView.model_validate(
        {
            "id": public_id(ids.uuid7()),
            "invoice_id": None,
            "provider": provider,
            "provider_id": None,
            "charge_id": None,
            "amount": money(organization_currency),
            "refunded": money(Money(organization_currency.currency, 0)),
            "state": "created",
            "failure": None,
            "action_url": None,
            "postal_check": None,
            "created_at": now,
            "succeeded_at": None,
        }
    )
