"""Rows of payments that the provider's answers would have made."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from farebox import ids
from farebox.db import Database
from farebox.invoices.model import Invoice
from farebox.payments.managed.model import StripeInvoice, StripeItem, StripeSubscription
from farebox.payments.model import (
    Dispute,
    Payment,
    PaymentAllocation,
    PaymentMethod,
    ProviderCustomer,
    Refund,
)


async def payments(worker: Database, organization: UUID, at: datetime) -> dict[str, str]:
    """Plant a payment with all that can hang on one; returns the public ids `pay` and `card`."""
    payment_id, card_id = ids.uuid7(), ids.uuid7()
    common = {"organization_id": organization, "provider": "stripe"}
    async with worker.transaction() as session:
        invoice = (
            await session.scalars(select(Invoice.id).where(Invoice.organization_id == organization).limit(1))
        ).one()
        session.add(
            Payment(
                id=payment_id, provider_id=f"pi_{payment_id.hex}", idempotency_key=payment_id.hex,
                flow="charge", amount_minor=100, currency="USD", state="succeeded", actor="test",
                created_at=at, updated_at=at, succeeded_at=at, **common,
            )
        )  # fmt: skip
        await session.flush()
        session.add(
            PaymentAllocation(
                id=ids.uuid7(), organization_id=organization, payment_id=payment_id, invoice_id=invoice,
                amount_minor=100, at=at,
            )
        )  # fmt: skip
        session.add(
            Refund(
                id=ids.uuid7(), payment_id=payment_id, idempotency_key=card_id.hex, amount_minor=1,
                currency="USD", reopens=False, state="failed", reason="test", actor="test", created_at=at,
                updated_at=at, **common,
            )
        )  # fmt: skip
        session.add(
            Dispute(
                id=ids.uuid7(), payment_id=payment_id, provider_id=f"du_{payment_id.hex}", amount_minor=1,
                currency="USD", reason="test", state="won", opened_at=at, **common,
            )
        )  # fmt: skip
        session.add(
            ProviderCustomer(
                provider_id=f"cus_{payment_id.hex}", email="ada@example.com", created_at=at, **common
            )
        )
        session.add(
            PaymentMethod(
                id=card_id, provider_id=f"pm_{card_id.hex}", brand="visa", last4="4242", exp_month=12,
                exp_year=2040, is_default=True, created_at=at, **common,
            )
        )  # fmt: skip
        managed = StripeSubscription(
            id=ids.uuid7(), organization_id=organization, provider_id=f"sub_{payment_id.hex}",
            state="ended", actor="test", created_at=at, updated_at=at, started_at=at, ended_at=at,
        )  # fmt: skip
        session.add(managed)
        await session.flush()
        session.add(
            StripeInvoice(
                id=ids.uuid7(), organization_id=organization, subscription_id=managed.id,
                provider_id=f"in_{payment_id.hex}", state="paid", currency="USD", due_minor=1,
                advance_minor=1, created_at=at, updated_at=at,
            )
        )  # fmt: skip
        session.add(
            StripeItem(
                id=ids.uuid7(), organization_id=organization, subscription_id=managed.id, invoice_id=invoice,
                amount_minor=1, currency="USD", state="settled", created_at=at, updated_at=at,
            )
        )  # fmt: skip
    return {"pay": ids.encode("pay", payment_id), "card": ids.encode("card", card_id)}
