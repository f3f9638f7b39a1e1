"""The endpoints of credit notes for members: list, show, PDF."""

from typing import Final

from sqlalchemy import select

from farebox import problems
from farebox.credit_notes import service
from farebox.credit_notes.exporting import export
from farebox.credit_notes.fields import CreditNoteEntry, CreditNoteView, entry, shown
from farebox.credit_notes.model import CreditNote
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Nothing
from farebox.files import Pdf
from farebox.organizations.permissions import Permission
from farebox.pagination import PageQuery, PageView, Sorting, cut
from farebox.papers import document, pdf
from farebox.runtime import SETTINGS
from farebox.web import Answer

TAG = "Billing"
_NEWEST: Final = "-issued_at"
_COLUMNS: Final = CreditNote.__table__.columns
_SORTING: Final = Sorting({"issued_at": _COLUMNS.issued_at}, _COLUMNS.id)


@endpoint(
    "GET", "/billing/credit-notes", "List credit notes",
    tag=TAG, permission=Permission.VIEW_BILLING, query=PageQuery, data=PageView[CreditNoteEntry],
    refusals=(problems.CURSOR_INVALID,),
)  # fmt: skip
async def list_credit_notes(call: Call[Nothing, PageQuery]) -> Answer[PageView[CreditNoteEntry]]:
    """Lists the organization's credit notes, newest first."""
    statement = select(CreditNote).where(CreditNote.organization_id == call.organization_id)
    ordered = _SORTING.apply(statement, _NEWEST, continued=call.query.cursor is not None)
    rows = (await call.session.scalars(ordered, _SORTING.parameters(call.query, _NEWEST))).all()
    page, following = cut(rows, call.query, sort=_NEWEST, place=lambda row: (row.issued_at, row.id))
    items = [CreditNoteEntry(**entry(row)) for row in page]
    return Answer(PageView[CreditNoteEntry](items=items, next_cursor=following), "Credit notes listed.")


@endpoint(
    "GET", "/billing/credit-notes/{credit_note_id}", "Show a credit note",
    tag=TAG, permission=Permission.VIEW_BILLING, data=CreditNoteView, identifiers={"credit_note_id": "cn"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def show_credit_note(call: Call[Nothing, Nothing]) -> Answer[CreditNoteView]:
    """Shows a credit note: what it takes back, line by line and tax by tax, and where the amount went."""
    return Answer(shown(await service.show(call.session, call.uuid("credit_note_id"))), "Credit note shown.")


@endpoint(
    "GET", "/billing/credit-notes/{credit_note_id}/pdf", "Download a credit note as PDF",
    tag=TAG, permission=Permission.VIEW_BILLING, data=Pdf, identifiers={"credit_note_id": "cn"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def credit_note_pdf(call: Call[Nothing, Nothing]) -> Answer[Pdf]:
    """The paper, in the language of the billing details at the time of the invoice."""
    view = await service.show(call.session, call.uuid("credit_note_id"))
    await call.end()
    fonts = call.request.app[SETTINGS].paper_fonts
    content = await pdf.in_thread(document.of_credit_note(export(view)), fonts=fonts)
    return Answer(Pdf(name=f"{view.public_id}.pdf", content=content), "Credit note written.")


ENDPOINTS: Endpoints = (list_credit_notes, show_credit_note, credit_note_pdf)
