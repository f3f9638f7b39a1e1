"""The verbs of invoices: issue drafts, finalize one that was parked, show, list, export with its proof.

Works in a tenant's transaction for reading (row security shows that tenant alone) and in the worker's for
writing. Knows no usage: what an invoice says was drafted before (`farebox.invoices.drafting`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, insert, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.invoices import numbers, proof, states
from farebox.invoices.drafting import Draft
from farebox.invoices.model import Invoice, InvoiceLine
from farebox.invoices.rating import plain
from farebox.money import Money
from farebox.problems import Refusal
from farebox.usage.model import UsageStatement

PAYMENT_TERM: Final = timedelta(days=14)
"""From issue to due. An invoice that asks for nothing is never due."""

_FINALIZE: Final = text(
    "UPDATE invoices i SET state = 'finalized', number = t.number, finalized_at = :now, "
    "due_at = CASE WHEN i.total_minor > 0 THEN CAST(:due AS timestamptz) END "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:numbers AS text[])) AS t(id, number) WHERE i.id = t.id"
)


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
class InvoiceView:
    """An invoice as it is shown. `lines` is empty in a list; `id` is `inv_…` in public."""

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
    lines: tuple[LineView, ...] = ()

    @property
    def public_id(self) -> str:
        """The id as others see it."""
        return ids.encode("inv", self.id)


@dataclass(frozen=True, slots=True)
class Page:
    """Invoices, newest first; `after` is what to ask for next, None at the end."""

    invoices: tuple[InvoiceView, ...]
    after: UUID | None


@dataclass(frozen=True, slots=True)
class Issued:
    """What became of a draft: its id, its state, and its number unless it was parked."""

    id: UUID
    draft: Draft
    state: states.State
    number: str | None


async def issue(
    session: AsyncSession,
    drafts: Sequence[Draft],
    *,
    issuer: str,
    statement_id: UUID,
    ceiling_minor: int,
    now: datetime,
) -> list[Issued]:
    """Write the drafts and finalize each, but park those beyond the safety bound. Needs the worker's role.

    Takes the numbers in this transaction, so a rollback takes them back. The unique key on subscription,
    period start and kind refuses a second invoice (`IntegrityError`).
    """
    if not drafts:
        return []
    # Sorted, so that the ids of one millisecond follow the drafts' order too.
    planned = [
        (invoice_id, each, states.first_state(each.total.minor, ceiling_minor=ceiling_minor))
        for invoice_id, each in zip(sorted(ids.uuid7() for _ in drafts), drafts, strict=True)
    ]
    await session.execute(
        insert(Invoice),
        [_invoice_row(invoice_id, each, issuer, statement_id, state) for invoice_id, each, state in planned],
    )
    rows = [row for invoice_id, each, _ in planned for row in _line_rows(invoice_id, each)]
    await session.execute(insert(InvoiceLine), rows)
    final = [invoice_id for invoice_id, _, state in planned if state == "finalized"]
    numbered = await _finalize(session, final, issuer=issuer, now=now)
    return [Issued(invoice_id, each, state, numbered.get(invoice_id)) for invoice_id, each, state in planned]


async def finalize(session: AsyncSession, invoice_id: UUID, *, now: datetime) -> str:
    """Finalize a parked invoice that a person has looked at; returns its number. Needs the worker's role.

    Raises `TransitionError` if it is final already, `Refusal` if there is none.
    """
    row = (
        await session.execute(
            select(Invoice.state, Invoice.issuer).where(Invoice.id == invoice_id).with_for_update()
        )
    ).first()
    if row is None:
        raise Refusal(problems.NOT_FOUND, log=f"no invoice {invoice_id}")
    states.after(states.FINALIZE, row.state)
    return (await _finalize(session, [invoice_id], issuer=row.issuer, now=now))[invoice_id]


async def show(session: AsyncSession, invoice_id: UUID) -> InvoiceView:
    """Return one invoice with its lines. Raises `Refusal` 404 if this session can see none."""
    invoice = await session.get(Invoice, invoice_id)
    if invoice is None:
        raise Refusal(problems.NOT_FOUND, log=f"no invoice {invoice_id}")
    lines = await session.scalars(
        select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)
    )
    return _view(invoice, tuple(_line_view(line, invoice.currency) for line in lines))


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
            "subtotal_minor": invoice.subtotal.minor,
            "tax_minor": invoice.tax.minor,
            "total_minor": invoice.total.minor,
            "finalized_at": None if invoice.finalized_at is None else proof.instant(invoice.finalized_at),
            "due_at": None if invoice.due_at is None else proof.instant(invoice.due_at),
            "basis": invoice.snapshot,
        },
        "statement": {"digest": statement.digest.hex(), "body": statement.body},
    }


async def _finalize(
    session: AsyncSession, invoice_ids: Sequence[UUID], *, issuer: str, now: datetime
) -> dict[UUID, str]:
    if not invoice_ids:
        return {}
    taken = await numbers.take(session, issuer, len(invoice_ids))
    await session.execute(
        _FINALIZE, {"now": now, "due": now + PAYMENT_TERM, "ids": list(invoice_ids), "numbers": taken}
    )
    return dict(zip(invoice_ids, taken, strict=True))


def _invoice_row(
    invoice_id: UUID, each: Draft, issuer: str, statement_id: UUID, state: states.State
) -> dict[str, Any]:
    return {
        "id": invoice_id,
        "organization_id": each.party.id,
        "subscription_id": each.term.subscription_id,
        "period_id": each.term.period_id,
        "state": "draft" if state == "finalized" else state,
        "issuer": issuer,
        "currency": each.total.currency,
        "period_start": each.term.starts_at,
        "period_end": each.term.ends_at,
        "subtotal_minor": each.total.minor,
        "tax_minor": 0,
        "total_minor": each.total.minor,
        "snapshot": dict(each.snapshot),
        "statement_id": statement_id,
    }


def _line_rows(invoice_id: UUID, each: Draft) -> list[dict[str, Any]]:
    return [
        {
            "id": ids.uuid7(),
            "organization_id": each.party.id,
            "invoice_id": invoice_id,
            "position": position,
            "kind": "charge" if line.of_period is None else "correction",
            "charge_code": line.code,
            "description": line.description,
            "quantity": line.quantity,
            "amount_minor": line.amount.minor,
            "detail": dict(line.detail),
            "of_period_id": line.of_period,
        }
        for position, line in enumerate(each.lines, start=1)
    ]


def _view(invoice: Invoice, lines: tuple[LineView, ...] = ()) -> InvoiceView:
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
        lines=lines,
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
