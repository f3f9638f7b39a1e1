"""The endpoints of past invoices: the list, one with its lines, and one with its proof."""

from typing import Annotated, Any

from pydantic import Field

from farebox import ids, problems
from farebox.billing.fields import MoneyView, money
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Instant, Nothing, View
from farebox.invoices import service as invoices
from farebox.invoices.rating import plain
from farebox.invoices.service import InvoiceView, LineView
from farebox.organizations.permissions import Permission
from farebox.pagination import PageQuery, PageView
from farebox.problems import Refusal
from farebox.web import Answer

TAG = "Billing"


class InvoiceEntry(View):
    """An invoice in the list."""

    id: Annotated[str, Field(examples=["inv_01kaj3m9x2e8r9v0c7w1q5t4yz"])]
    number: Annotated[str | None, Field(description="Null until it is finalized.")]
    state: str
    period_start: Instant
    period_end: Instant
    subtotal: MoneyView
    tax: MoneyView
    total: MoneyView
    created_at: Instant
    finalized_at: Instant | None
    due_at: Instant | None


class InvoiceLineView(View):
    """One line, with its working."""

    position: int
    kind: str
    code: str
    description: str
    quantity: str
    amount: MoneyView
    working: Annotated[dict[str, Any], Field(description="Exact amounts and tiers, as decimals.")]


class InvoiceWithLines(InvoiceEntry):
    """An invoice with its lines and what it rests on."""

    issuer: str
    lines: list[InvoiceLineView]
    basis: Annotated[
        dict[str, Any], Field(description="The snapshot: price, rounding, quantities and exclusions.")
    ]


class ProofView(View):
    """An invoice with its proof: the document that `farebox verify` reads (docs/proof.md)."""

    document: dict[str, Any]


@endpoint(
    "GET", "/billing/history", "List invoices",
    tag=TAG, permission=Permission.VIEW_BILLING, query=PageQuery, data=PageView[InvoiceEntry],
    refusals=(problems.CURSOR_INVALID,),
)  # fmt: skip
async def history(call: Call[Nothing, PageQuery]) -> Answer[PageView[InvoiceEntry]]:
    """Lists the organization's invoices, newest first."""
    page = await invoices.page(
        call.session, call.organization_id, limit=call.query.limit, after=_after(call.query.cursor)
    )
    following = ids.encode("inv", page.after) if page.after is not None else None
    items = [InvoiceEntry(**_entry(invoice)) for invoice in page.invoices]
    return Answer(PageView[InvoiceEntry](items=items, next_cursor=following), "Invoices listed.")


@endpoint(
    "GET", "/billing/invoices/{invoice_id}", "Show an invoice",
    tag=TAG, permission=Permission.VIEW_BILLING, data=InvoiceWithLines, identifiers={"invoice_id": "inv"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def show(call: Call[Nothing, Nothing]) -> Answer[InvoiceWithLines]:
    """Shows an invoice with its lines, their working, and the quantities and prices that it rests on."""
    invoice = await invoices.show(call.session, call.uuid("invoice_id"))
    view = InvoiceWithLines(
        **_entry(invoice),
        issuer=invoice.issuer,
        lines=[_line(line) for line in invoice.lines],
        basis=invoice.snapshot,
    )
    return Answer(view, "Invoice shown.")


@endpoint(
    "GET", "/billing/invoices/{invoice_id}/proof", "Export an invoice with its proof",
    tag=TAG, permission=Permission.VIEW_BILLING, data=ProofView, identifiers={"invoice_id": "inv"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def proof(call: Call[Nothing, Nothing]) -> Answer[ProofView]:
    """Exports the invoice with its completeness statement. Save `document` to a file: `farebox verify`
    derives the invoice again from it and the raw usage lines, with no database.
    """
    document = await invoices.export(call.session, call.uuid("invoice_id"))
    return Answer(ProofView(document=document), "Invoice and proof exported.")


def _after(cursor: str | None) -> Any:
    try:
        return ids.decode("inv", cursor) if cursor is not None else None
    except ids.MalformedIdError as error:
        raise Refusal(problems.CURSOR_INVALID) from error


def _entry(invoice: InvoiceView) -> dict[str, Any]:
    return {
        "id": invoice.public_id,
        "number": invoice.number,
        "state": invoice.state,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
        "subtotal": money(invoice.subtotal),
        "tax": money(invoice.tax),
        "total": money(invoice.total),
        "created_at": invoice.created_at,
        "finalized_at": invoice.finalized_at,
        "due_at": invoice.due_at,
    }


def _line(line: LineView) -> InvoiceLineView:
    return InvoiceLineView(
        position=line.position,
        kind=line.kind,
        code=line.charge_code,
        description=line.description,
        quantity=plain(line.quantity),
        amount=money(line.amount),
        working=line.detail,
    )


ENDPOINTS: Endpoints = (history, show, proof)
