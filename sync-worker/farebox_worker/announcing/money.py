"""Letters about invoices and payments."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, outbox
from farebox_worker.announcing.links import invoice_page
from farebox_worker.announcing.people import audience, write_to
from farebox_worker.announcing.telling import Telling

_INVOICE: Final = text(
    """
    SELECT i.id, i.number, i.currency, i.period_start, i.period_end, i.total_minor, i.open_minor, i.due_at,
           i.collection, i.state, COALESCE(s.legal_name, i.issuer) AS issuer
    FROM invoices i LEFT JOIN issuers s ON s.code = i.issuer
    WHERE i.id = :invoice
    """
)
_PAYMENT: Final = text(
    """
    SELECT p.id, p.amount_minor, p.currency, p.succeeded_at, p.failure_reason, p.invoice_id, i.number,
           COALESCE(p.charge_id, p.provider_id) AS reference, m.brand, m.last4
    FROM payments p LEFT JOIN invoices i ON i.id = p.invoice_id
    LEFT JOIN LATERAL (
        SELECT brand, last4 FROM payment_methods
        WHERE organization_id = p.organization_id AND provider = p.provider AND is_default LIMIT 1
    ) m ON p.flow = 'charge'
    WHERE p.id = :payment
    """
)


async def invoice_issued(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> None:
    """Send the invoice, and have it collected where that is agreed."""
    row = await _invoice(telling.session, payload["invoice"])
    people = await audience(telling.session, organization_id)
    await write_to(
        telling.session,
        organization_id,
        people.billing,
        "invoice",
        {
            "organization": people.organization,
            "issuer": row.issuer,
            "number": row.number,
            "period_start": row.period_start.isoformat(),
            "period_end": row.period_end.isoformat(),
            "total": amount(row.currency, row.total_minor),
            "open": amount(row.currency, row.open_minor),
            "due_at": None if row.due_at is None else row.due_at.isoformat(),
            "collection": row.collection,
            "invoice_url": invoice_page(telling.settings, payload["invoice"], now=telling.now),
        },
        language=people.language,
    )
    if row.collection == "automatic" and row.open_minor > 0 and row.state in {"finalized", "overdue"}:
        await outbox.enqueue(
            telling.session,
            outbox.INVOICE_COLLECT,
            organization=organization_id,
            payload={"invoice": payload["invoice"]},
        )


async def invoice_overdue(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> None:
    """Remind of an invoice that is still unpaid when the reminder is written."""
    row = await _invoice(telling.session, payload["invoice"])
    if row.open_minor == 0 or row.state not in {"finalized", "overdue"}:
        return
    people = await audience(telling.session, organization_id)
    await write_to(
        telling.session,
        organization_id,
        people.billing,
        "overdue",
        {
            "organization": people.organization,
            "number": row.number,
            "open": amount(row.currency, row.open_minor),
            "due_at": row.due_at.isoformat(),
            "suspends_at": payload.get("suspends_at"),
            "pay_url": invoice_page(telling.settings, payload["invoice"], now=telling.now),
        },
        language=people.language,
    )


async def payment_succeeded(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> None:
    """Send the receipt."""
    row = await _payment(telling.session, payload["payment"])
    people = await audience(telling.session, organization_id)
    await write_to(
        telling.session,
        organization_id,
        people.billing,
        "receipt",
        {
            "organization": people.organization,
            "amount": amount(row.currency, row.amount_minor),
            "paid_at": (row.succeeded_at or telling.now).isoformat(),
            "number": row.number,
            "method": f"{row.brand} …{row.last4}" if row.brand else None,
            "reference": row.reference or payload["payment"],
        },
        language=people.language,
    )


async def payment_failed(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> None:
    """Say why, when we try again, and where to pay."""
    row = await _payment(telling.session, payload["payment"])
    people = await audience(telling.session, organization_id)
    page = (
        f"{telling.settings.public_url.rstrip('/')}/billing"
        if row.invoice_id is None
        else invoice_page(telling.settings, ids.encode("inv", row.invoice_id), now=telling.now)
    )
    await write_to(
        telling.session,
        organization_id,
        people.billing,
        "payment_failed",
        {
            "organization": people.organization,
            "amount": amount(row.currency, row.amount_minor),
            "reason": row.failure_reason or "no reason given",
            "number": row.number,
            "next_attempt_at": payload.get("next_attempt_at"),
            "pay_url": page,
        },
        language=people.language,
    )


def amount(currency: str, minor: int) -> dict[str, Any]:
    """Return an amount as letters take it."""
    return {"currency": currency, "minor": minor}


async def _invoice(session: AsyncSession, public_id: str) -> Any:
    return (await session.execute(_INVOICE, {"invoice": ids.decode("inv", public_id)})).one()


async def _payment(session: AsyncSession, public_id: str) -> Any:
    return (await session.execute(_PAYMENT, {"payment": ids.decode("pay", public_id)})).one()
