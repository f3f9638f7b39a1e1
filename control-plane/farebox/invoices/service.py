"""The verbs of invoices: show, list, export with its proof; issue and finalize stand in `issuing`.

Works in a tenant's transaction for reading (row security shows that tenant alone) and in the worker's for
writing. Knows no usage: what an invoice says was drafted before (`farebox.invoices.drafting`).
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.invoices import proof
from farebox.invoices.issuing import PAYMENT_TERM, Issued, finalize, issue
from farebox.invoices.model import Invoice, InvoiceLine, InvoiceTax
from farebox.invoices.rating import plain
from farebox.money import Money
from farebox.problems import Refusal
from farebox.usage.model import UsageStatement

__all__ = [
    "PAYMENT_TERM",
    "InvoiceView",
    "Issued",
    "LineView",
    "Page",
    "TaxView",
    "export",
    "finalize",
    "find",
    "issue",
    "page",
    "show",
]


@dataclass(frozen=True, slots=True)
class LineView:
    """One line of an invoice. `detail` is its working, as plain JSON."""

    position: int
    kind: str
    charge_code: str
    description: str
    quantity: Decimal
    amount: Money
    detail: dict[str, Any]
    of_period_id: UUID | None


@dataclass(frozen=True, slots=True)
class TaxView:
    """One tax of an invoice: `rate` per cent of `base`; `kind` `levied`, `reverse_charge` or `exempt`."""

    kind: str
    name: str
    country: str
    region: str
    rate: Decimal
    inclusive: bool
    base: Money
    amount: Money


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """An invoice as it is shown. `lines` and `taxes` are empty in a list; `id` is `inv_…` in public.
    `credits`
    were used when it was finalized, `credited` by credit notes; `open` is what is still asked for.
    """

    id: UUID
    organization_id: UUID
    number: str | None
    state: str
    kind: str
    issuer: str
    period_start: datetime
    period_end: datetime
    subtotal: Money
    tax: Money
    total: Money
    created_at: datetime
    finalized_at: datetime | None
    due_at: datetime | None
    snapshot: dict[str, Any]
    statement_id: UUID
    credits: Money
    paid: Money
    credited: Money
    open: Money
    collection: str
    paid_at: datetime | None
    disputed_at: datetime | None
    lines: tuple[LineView, ...] = ()
    taxes: tuple[TaxView, ...] = ()

    @property
    def public_id(self) -> str:
        """The id as others see it."""
        return ids.encode("inv", self.id)


@dataclass(frozen=True, slots=True)
class Page:
    """Invoices, newest first; `after` is what to ask for next, None at the end."""

    invoices: tuple[InvoiceView, ...]
    after: UUID | None


async def show(session: AsyncSession, invoice_id: UUID) -> InvoiceView:
    """Return one invoice with its lines. Raises `Refusal` 404 if this session can see none."""
    invoice = await session.get(Invoice, invoice_id)
    if invoice is None:
        raise Refusal(problems.NOT_FOUND, log=f"no invoice {invoice_id}")
    lines = await session.scalars(
        select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)
    )
    taxes = await session.scalars(
        select(InvoiceTax).where(InvoiceTax.invoice_id == invoice_id).order_by(InvoiceTax.position)
    )
    return _view(
        invoice,
        tuple(_line_view(line, invoice.currency) for line in lines),
        tuple(_tax_view(tax, invoice.currency) for tax in taxes),
    )


async def find(session: AsyncSession, name: str) -> InvoiceView:
    """Return one invoice by its number or its public id. Raises `Refusal` 404."""
    try:
        invoice_id = ids.decode("inv", name)
    except ids.MalformedIdError:
        found = await session.scalar(select(Invoice.id).where(Invoice.number == name))
        if found is None:
            raise Refusal(
                problems.NOT_FOUND, f"There is no invoice {name!r}; `farebox invoice list` shows them."
            ) from None
        invoice_id = found
    return await show(session, invoice_id)


async def page(
    session: AsyncSession,
    organization_id: UUID | None,
    *,
    limit: int = 20,
    after: UUID | None = None,
    state: str | None = None,
) -> Page:
    """Return invoices newest first, without lines, `after` an invoice; None: of all that can be seen.

    Raises `Refusal` 422 if `after` is no invoice of this list.
    """
    wanted = select(Invoice).order_by(Invoice.created_at.desc(), Invoice.id.desc()).limit(limit + 1)
    if organization_id is not None:
        wanted = wanted.where(Invoice.organization_id == organization_id)
    if state is not None:
        wanted = wanted.where(Invoice.state == state)
    if after is not None:
        last = await session.get(Invoice, after)
        if last is None or (organization_id is not None and last.organization_id != organization_id):
            raise Refusal(problems.CURSOR_INVALID)
        wanted = wanted.where(
            or_(
                Invoice.created_at < last.created_at,
                and_(Invoice.created_at == last.created_at, Invoice.id < last.id),
            )
        )
    rows = list(await session.scalars(wanted))
    views = tuple(_view(row) for row in rows[:limit])
    return Page(views, views[-1].id if len(rows) > limit else None)


async def export(session: AsyncSession, invoice_id: UUID) -> dict[str, Any]:
    """Return the invoice with its proof, as plain JSON for `farebox verify` (docs/proof.md).

    Raises `Refusal` 404 if this session can see no such invoice.
    """
    invoice = await show(session, invoice_id)
    statement = await session.get_one(UsageStatement, invoice.statement_id)
    return {
        "format": proof.FORMAT,
        "version": proof.VERSION,
        "invoice": {
            "id": invoice.public_id,
            "number": invoice.number,
            "state": invoice.state,
            "kind": invoice.kind,
            "currency": invoice.total.currency,
            "period": {
                "start": proof.instant(invoice.period_start),
                "end": proof.instant(invoice.period_end),
            },
            "lines": [
                {
                    "position": line.position,
                    "kind": line.kind,
                    "charge_code": line.charge_code,
                    "description": line.description,
                    "quantity": plain(line.quantity),
                    "amount_minor": line.amount.minor,
                    "detail": line.detail,
                    "of_period": None if line.of_period_id is None else ids.encode("per", line.of_period_id),
                }
                for line in invoice.lines
            ],
            "taxes": [
                {
                    "kind": tax.kind,
                    "name": tax.name,
                    "country": tax.country,
                    "region": tax.region,
                    "rate": plain(tax.rate),
                    "inclusive": tax.inclusive,
                    "base_minor": tax.base.minor,
                    "amount_minor": tax.amount.minor,
                }
                for tax in invoice.taxes
            ],
            "subtotal_minor": invoice.subtotal.minor,
            "tax_minor": invoice.tax.minor,
            "total_minor": invoice.total.minor,
            "credits_minor": invoice.credits.minor,
            "finalized_at": None if invoice.finalized_at is None else proof.instant(invoice.finalized_at),
            "due_at": None if invoice.due_at is None else proof.instant(invoice.due_at),
            "basis": invoice.snapshot,
        },
        "statement": {"digest": statement.digest.hex(), "body": statement.body},
    }


def _view(invoice: Invoice, lines: tuple[LineView, ...] = (), taxes: tuple[TaxView, ...] = ()) -> InvoiceView:
    return InvoiceView(
        id=invoice.id,
        organization_id=invoice.organization_id,
        number=invoice.number,
        state=invoice.state,
        kind=invoice.kind,
        issuer=invoice.issuer,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        subtotal=Money(invoice.currency, invoice.subtotal_minor),
        tax=Money(invoice.currency, invoice.tax_minor),
        total=Money(invoice.currency, invoice.total_minor),
        created_at=invoice.created_at,
        finalized_at=invoice.finalized_at,
        due_at=invoice.due_at,
        snapshot=invoice.snapshot,
        statement_id=invoice.statement_id,
        credits=Money(invoice.currency, invoice.credits_minor),
        paid=Money(invoice.currency, invoice.paid_minor),
        credited=Money(invoice.currency, invoice.credited_minor),
        open=Money(invoice.currency, invoice.open_minor or 0),
        collection=invoice.collection,
        paid_at=invoice.paid_at,
        disputed_at=invoice.disputed_at,
        lines=lines,
        taxes=taxes,
    )


def _line_view(line: InvoiceLine, currency: str) -> LineView:
    return LineView(
        line.position,
        line.kind,
        line.charge_code,
        line.description,
        line.quantity,
        Money(currency, line.amount_minor),
        line.detail,
        line.of_period_id,
    )


def _tax_view(tax: InvoiceTax, currency: str) -> TaxView:
    return TaxView(
        tax.kind,
        tax.name,
        tax.country,
        tax.region,
        tax.rate,
        tax.inclusive,
        Money(currency, tax.base_minor),
        Money(currency, tax.amount_minor),
    )
