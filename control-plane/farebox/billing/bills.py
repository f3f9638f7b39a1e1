"""The endpoints of money: the current bill, past invoices, and what a number of units would cost."""

from typing import Annotated, Any

from pydantic import Field

from farebox import ids, problems
from farebox.billing.fields import CountView, MoneyView, count, money
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Input, Instant, Nothing, PlanCode, Units, View
from farebox.invoices import charges as charge_language
from farebox.invoices import service as invoices
from farebox.invoices.rating import RatedLine, RatingError, plain, rate
from farebox.invoices.service import InvoiceView, LineView
from farebox.money import Money
from farebox.organizations.permissions import Permission
from farebox.pagination import PageQuery, PageView
from farebox.plans import service as plans
from farebox.plans.views import LimitView, QuotaView
from farebox.problems import Refusal
from farebox.subscriptions import service as subscriptions
from farebox.subscriptions.present import Present, present
from farebox.usage import service as usage
from farebox.web import Answer

TAG = "Billing"


class PricedLine(View):
    """A charge and what it comes to."""

    code: str
    description: str
    quantity: Annotated[str, Field(description="Priced units, a decimal; 1 for a flat charge.")]
    amount: MoneyView


class CalculateInput(Input):
    """Units in one billing period, on a plan."""

    units: Units
    plan: Annotated[PlanCode | None, Field(description="Left out: the plan the organization is on.")] = None


class CalculationView(View):
    """What a period with that many units would cost, before tax."""

    plan: str
    version: int
    units: int
    lines: list[PricedLine]
    total: MoneyView


class CurrentBillView(View):
    """The running period: what it comes to if nothing more is used."""

    subscription: str
    plan: str
    plan_name: str
    version: int
    limits: list[LimitView]
    quota: QuotaView | None
    time_zone: str
    period_start: Instant
    period_end: Instant
    billable: CountView
    excluded: dict[str, CountView]
    lines: list[PricedLine]
    total: Annotated[MoneyView, Field(description="So far, before tax and corrections.")]


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
    "GET", "/billing/current", "Show the current bill",
    tag=TAG, permission=Permission.VIEW_BILLING, data=CurrentBillView,
)  # fmt: skip
async def current(call: Call[Nothing, Nothing]) -> Answer[CurrentBillView]:
    """Prices what the running period has used so far, by the rule and the prices of its invoice to come."""
    here = await present(call.session, call.organization_id, wall=call.now)
    period_id = here.period_id
    if period_id is None:
        running = await subscriptions.running(call.session, call.organization_id, now=here.now)
        period_id = running.period.id
    quantities = (await usage.quantities_for_periods(call.session, [period_id]))[period_id]
    lines, total = _price(here.charges, quantities.billable.units, here.currency)
    return Answer(
        CurrentBillView(
            subscription=f"sub_{here.subscription}",
            plan=here.plan,
            plan_name=here.plan_name,
            version=here.version,
            limits=[LimitView.model_validate(limit) for limit in here.limits],
            quota=_quota(here),
            time_zone=here.time_zone,
            period_start=here.period.start,
            period_end=here.period.end,
            billable=count(quantities.billable),
            excluded={reason: count(value) for reason, value in quantities.excluded.items()},
            lines=lines,
            total=total,
        ),
        "The running period so far.",
    )


@endpoint(
    "POST", "/billing/calculate", "Calculate a price",
    tag=TAG, permission=Permission.VIEW_ORGANIZATION, body=CalculateInput, data=CalculationView, effect=False,
    refusals=(problems.UNKNOWN_PLAN, problems.AMOUNT_TOO_LARGE),
)  # fmt: skip
async def calculate(call: Call[CalculateInput, Nothing]) -> Answer[CalculationView]:
    """Says what a period with that many billable units would cost on a plan on offer, or on the present one.
    Nothing is changed.
    """
    offer: plans.Offer | Present
    if call.body.plan is None:
        offer = await present(call.session, call.organization_id, wall=call.now)
    else:
        offer = await plans.offer(call.session, call.body.plan)
    lines, total = _price(offer.charges, call.body.units, offer.currency)
    view = CalculationView(
        plan=offer.plan, version=offer.version, units=call.body.units, lines=lines, total=total
    )
    return Answer(
        view, f"{call.body.units:,} units on {offer.plan} come to {total.currency} {total.decimal}."
    )


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


def _price(charges: list[Any], units: int, currency: str) -> tuple[list[PricedLine], MoneyView]:
    try:
        rated = rate(charge_language.parse(charges), units, currency)
    except RatingError as error:
        raise Refusal(problems.AMOUNT_TOO_LARGE, str(error)) from error
    total = sum((line.amount for line in rated), Money(currency, 0))
    return [_priced(line) for line in rated], money(total)


def _priced(line: RatedLine) -> PricedLine:
    return PricedLine(
        code=line.code,
        description=line.description,
        quantity=plain(line.quantity),
        amount=money(line.amount),
    )


def _quota(here: Present) -> QuotaView | None:
    return QuotaView.model_validate(here.quota) if here.quota is not None else None


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


ENDPOINTS: Endpoints = (current, calculate, history, show, proof)
