"""The endpoints of operators for invoices: find them, see all of one, and what people do to them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field, StringConstraints
from sqlalchemy import ColumnElement, and_, or_, select

from farebox import ids, problems
from farebox.billing.fields import MoneyView, money
from farebox.credit_notes import service as credit_notes
from farebox.credit_notes.exporting import export as export_note
from farebox.credit_notes.fields import (
    CreditNoteEntry,
    CreditNoteInput,
    CreditNoteView,
    entry,
    shown,
    wanted,
)
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Future, Input, Instant, Line, Nothing, View
from farebox.files import Pdf
from farebox.invoices import acts, events, service
from farebox.invoices.model import Invoice
from farebox.money import Money
from farebox.organizations.fields import OrganizationId
from farebox.organizations.model import Organization
from farebox.pagination import PageQuery, PageView, Sorting, cut
from farebox.papers import document, pdf
from farebox.problems import Refusal
from farebox.runtime import SETTINGS
from farebox.web import Answer

TAG = "Operators"
State = Literal["parked", "finalized", "paid", "overdue", "void", "uncollectible"]
_NEWEST: Final = "-created_at"
_COLUMNS: Final = Invoice.__table__.columns
_SORTING: Final = Sorting({"created_at": _COLUMNS.created_at}, _COLUMNS.id)


class InvoicesQuery(PageQuery):
    """Which invoices to list."""

    state: State | None = None
    organization: OrganizationId | None = None
    number: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[^\x00]*$")] | None,
        Field(description="What the number begins with."),
    ] = None
    issued_from: Annotated[Future | None, Field(description="Finalized then or later.")] = None
    issued_until: Annotated[Future | None, Field(description="Finalized before then.")] = None
    overdue: Annotated[
        bool | None, Field(description="True: due before now, with something open; false: the others.")
    ] = None


class InvoiceRow(View):
    """An invoice as operators see it."""

    id: Annotated[str, Field(examples=["inv_01kaj3m9x2e8r9v0c7w1q5t4yz"])]
    number: str | None
    organization: str
    organization_name: str
    state: str
    period_start: Instant
    period_end: Instant
    total: MoneyView
    credits: MoneyView
    paid: MoneyView
    credited: Annotated[MoneyView, Field(description="By credit notes, off what was open.")]
    open: Annotated[MoneyView, Field(description="What is still asked for; nothing on a void invoice.")]
    collection: str
    created_at: Instant
    finalized_at: Instant | None
    due_at: Instant | None
    paid_at: Instant | None
    disputed_at: Instant | None


class EventView(View):
    """What somebody did to it."""

    verb: str
    actor: str
    reason: str
    detail: dict[str, Any]
    at: Instant


class InvoiceDetail(InvoiceRow):
    """An invoice with everything about it."""

    document: Annotated[dict[str, Any], Field(description="Lines, taxes and basis, as in its proof.")]
    credit_notes: list[CreditNoteEntry]
    events: list[EventView]


class ReasonInput(Input):
    """Why. It is written down, and stands on no paper."""

    reason: Annotated[Line, Field(examples=["Billed to the wrong company"])]


@endpoint(
    "GET", "/admin/invoices", "List invoices of all organizations",
    tag=TAG, access=Access.OPERATOR, query=InvoicesQuery, data=PageView[InvoiceRow],
    refusals=(problems.CURSOR_INVALID,),
)  # fmt: skip
async def list_invoices(call: Call[Nothing, InvoicesQuery]) -> Answer[PageView[InvoiceRow]]:
    """Lists invoices, newest first, by state, organization, number, date of issue, and whether overdue."""
    statement = (
        select(Invoice, Organization.public_id, Organization.name)
        .join(Organization, Organization.id == Invoice.organization_id)
        .where(*_conditions(call.query, call.now))
    )
    ordered = _SORTING.apply(statement, _NEWEST, continued=call.query.cursor is not None)
    rows = (await call.session.execute(ordered, _SORTING.parameters(call.query, _NEWEST))).all()
    page, following = cut(rows, call.query, sort=_NEWEST, place=lambda row: (row[0].created_at, row[0].id))
    items = [InvoiceRow(**_row(row[0], row[1], row[2])) for row in page]
    return Answer(PageView[InvoiceRow](items=items, next_cursor=following), "Invoices listed.")


@endpoint(
    "GET", "/admin/invoices/{invoice_id}", "Show an invoice of any organization",
    tag=TAG, access=Access.OPERATOR, data=InvoiceDetail, identifiers={"invoice_id": "inv"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def show_invoice(call: Call[Nothing, Nothing]) -> Answer[InvoiceDetail]:
    """Shows an invoice with its lines and taxes, its credit notes, and what people did to it."""
    return Answer(await _detail(call, call.uuid("invoice_id")), "Invoice shown.")


@endpoint(
    "GET", "/admin/invoices/{invoice_id}/pdf", "Download any invoice as PDF",
    tag=TAG, access=Access.OPERATOR, data=Pdf, identifiers={"invoice_id": "inv"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def any_invoice_pdf(call: Call[Nothing, Nothing]) -> Answer[Pdf]:
    """The paper that the customer gets."""
    await _within(call)
    exported = await service.export(call.session, call.uuid("invoice_id"))
    await call.end()
    fonts = call.request.app[SETTINGS].paper_fonts
    content = await pdf.in_thread(document.of_invoice(exported), fonts=fonts)
    return Answer(Pdf(name=f"{exported['invoice']['id']}.pdf", content=content), "Invoice written.")


@endpoint(
    "POST", "/admin/invoices/{invoice_id}/void", "Void an invoice",
    tag=TAG, access=Access.OPERATOR, body=ReasonInput, data=InvoiceDetail,
    identifiers={"invoice_id": "inv"}, refusals=(problems.NOT_FOUND, problems.INVOICE_STATE),
)  # fmt: skip
async def void(call: Call[ReasonInput, Nothing]) -> Answer[InvoiceDetail]:
    """Declares an unpaid invoice void. It keeps its number, asks for nothing, and returns credits it used."""
    invoice_id = await _within(call)
    await acts.void(call.session, invoice_id, actor=_actor(call), reason=call.body.reason, now=call.now)
    return Answer(await _detail(call, invoice_id), "Invoice void.")


@endpoint(
    "POST", "/admin/invoices/{invoice_id}/write-off", "Give an invoice up",
    tag=TAG, access=Access.OPERATOR, body=ReasonInput, data=InvoiceDetail,
    identifiers={"invoice_id": "inv"}, refusals=(problems.NOT_FOUND, problems.INVOICE_STATE),
)  # fmt: skip
async def write_off(call: Call[ReasonInput, Nothing]) -> Answer[InvoiceDetail]:
    """Marks an open invoice as uncollectible. A later payment still settles it."""
    invoice_id = await _within(call)
    await acts.write_off(call.session, invoice_id, actor=_actor(call), reason=call.body.reason, now=call.now)
    return Answer(await _detail(call, invoice_id), "Invoice given up.")


@endpoint(
    "POST", "/admin/invoices/{invoice_id}/reopen", "Ask again for an invoice that was given up",
    tag=TAG, access=Access.OPERATOR, body=ReasonInput, data=InvoiceDetail,
    identifiers={"invoice_id": "inv"}, refusals=(problems.NOT_FOUND, problems.INVOICE_STATE),
)  # fmt: skip
async def reopen(call: Call[ReasonInput, Nothing]) -> Answer[InvoiceDetail]:
    """Opens an uncollectible invoice again: overdue if its date has passed."""
    invoice_id = await _within(call)
    await acts.reopen(call.session, invoice_id, actor=_actor(call), reason=call.body.reason, now=call.now)
    return Answer(await _detail(call, invoice_id), "Invoice open again.")


@endpoint(
    "POST", "/admin/invoices/{invoice_id}/credit-notes", "Issue a credit note",
    tag=TAG, access=Access.OPERATOR, body=CreditNoteInput, data=CreditNoteView, status=201,
    identifiers={"invoice_id": "inv"},
    refusals=(problems.NOT_FOUND, problems.INVOICE_STATE, problems.NOT_CREDITABLE),
)  # fmt: skip
async def issue_credit_note(call: Call[CreditNoteInput, Nothing]) -> Answer[CreditNoteView]:
    """Takes an invoice back, whole or line by line, taxes included: first off what is open, then as balance
    or refund. Refunds are made right after; what cannot be refunded becomes balance.
    """
    invoice_id = await _within(call)
    currency = await call.session.scalar(select(Invoice.currency).where(Invoice.id == invoice_id))
    view = await credit_notes.issue(
        call.session, invoice_id, wanted(call.body, currency or ""), actor=_actor(call), now=call.now
    )
    return Answer(shown(view), f"Credit note {view.note.number} issued.")


@endpoint(
    "GET", "/admin/credit-notes/{credit_note_id}/pdf", "Download any credit note as PDF",
    tag=TAG, access=Access.OPERATOR, data=Pdf, identifiers={"credit_note_id": "cn"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def any_credit_note_pdf(call: Call[Nothing, Nothing]) -> Answer[Pdf]:
    """The paper that the customer gets."""
    view = await credit_notes.show(call.session, call.uuid("credit_note_id"))
    await call.end()
    fonts = call.request.app[SETTINGS].paper_fonts
    content = await pdf.in_thread(document.of_credit_note(export_note(view)), fonts=fonts)
    return Answer(Pdf(name=f"{view.public_id}.pdf", content=content), "Credit note written.")


def _conditions(query: InvoicesQuery, now: datetime) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.state is not None:
        found.append(Invoice.state == query.state)
    if query.organization is not None:
        found.append(Organization.public_id == query.organization.removeprefix("org_"))
    if query.number is not None:
        found.append(Invoice.number.startswith(query.number, autoescape=True))
    if query.issued_from is not None:
        found.append(Invoice.finalized_at >= query.issued_from)
    if query.issued_until is not None:
        found.append(Invoice.finalized_at < query.issued_until)
    if query.overdue is not None:
        is_late = and_(
            Invoice.state.in_(("finalized", "overdue")), Invoice.open_minor > 0, Invoice.due_at <= now
        )
        rest = or_(Invoice.due_at.is_(None), Invoice.due_at > now, Invoice.open_minor == 0)
        settled = Invoice.state.not_in(("finalized", "overdue"))
        found.append(is_late if query.overdue else or_(rest, settled))
    return found


async def _within(call: Call[Any, Any]) -> UUID:
    """Enter the invoice's organization; returns the invoice's id. Raises `Refusal` 404."""
    invoice_id = call.uuid("invoice_id")
    public = await call.session.scalar(
        select(Organization.public_id)
        .join(Invoice, Invoice.organization_id == Organization.id)
        .where(Invoice.id == invoice_id)
    )
    if public is None:
        raise Refusal(problems.NOT_FOUND)
    await call.operate_within(public)
    return invoice_id


async def _detail(call: Call[Any, Any], invoice_id: UUID) -> InvoiceDetail:
    session = call.session
    row = (
        await session.execute(
            select(Invoice, Organization.public_id, Organization.name)
            .join(Organization, Organization.id == Invoice.organization_id)
            .where(Invoice.id == invoice_id)
            .execution_options(populate_existing=True)
        )
    ).one_or_none()
    if row is None:
        raise Refusal(problems.NOT_FOUND)
    exported = await service.export(session, invoice_id)
    notes = await credit_notes.of_invoice(session, invoice_id)
    done = await events.of_invoice(session, invoice_id)
    return InvoiceDetail(
        **_row(row[0], row[1], row[2]),
        document=exported["invoice"],
        credit_notes=[CreditNoteEntry(**entry(note)) for note in notes],
        events=[
            EventView(verb=each.verb, actor=each.actor, reason=each.reason, detail=each.detail, at=each.at)
            for each in done
        ],
    )


def _row(invoice: Invoice, public_id: str, name: str) -> dict[str, Any]:
    def amount(minor: int) -> MoneyView:
        return money(Money(invoice.currency, minor))

    return {
        "id": ids.encode("inv", invoice.id),
        "number": invoice.number,
        "organization": f"org_{public_id}",
        "organization_name": name,
        "state": invoice.state,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
        "total": amount(invoice.total_minor),
        "credits": amount(invoice.credits_minor),
        "paid": amount(invoice.paid_minor),
        "credited": amount(invoice.credited_minor),
        "open": amount(0 if invoice.state == "void" else invoice.open_minor or 0),
        "collection": invoice.collection,
        "created_at": invoice.created_at,
        "finalized_at": invoice.finalized_at,
        "due_at": invoice.due_at,
        "paid_at": invoice.paid_at,
        "disputed_at": invoice.disputed_at,
    }


def _actor(call: Call[Any, Any]) -> str:
    return f"operator {ids.encode('user', call.user_id)}"


ENDPOINTS: Endpoints = (
    list_invoices, show_invoice, any_invoice_pdf, void, write_off, reopen, issue_credit_note,
    any_credit_note_pdf,
)  # fmt: skip
