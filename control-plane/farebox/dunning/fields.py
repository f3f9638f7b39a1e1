"""How dunning is shown to members and operators, and what operators may set."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids
from farebox.billing.fields import MoneyView, money
from farebox.dunning.foretelling import Outlook
from farebox.dunning.policy import LONGEST_DAYS, MOST_STEPS
from farebox.dunning.schedule import Kind
from farebox.fields import Future, Input, Instant, View
from farebox.money import Money

Days = Annotated[int, Field(ge=0, le=LONGEST_DAYS)]
Because = Annotated[
    str,
    StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00]*$"),
    Field(examples=["pays in parts until June"]),
]
_CASES = text(
    """
    SELECT c.*, i.number, i.currency, i.open_minor, i.due_at, o.public_id AS organization
    FROM dunning_cases c
    JOIN invoices i ON i.id = c.invoice_id
    JOIN organizations o ON o.id = c.organization_id
    WHERE (CAST(:organization AS uuid) IS NULL OR c.organization_id = :organization)
      AND (CAST(:id AS uuid) IS NULL OR c.id = :id) AND (:resolved OR c.state <> 'resolved')
      AND (CAST(:state AS text) IS NULL OR c.state = :state)
      AND (CAST(:after AS uuid) IS NULL OR c.id < :after)
    ORDER BY c.id DESC LIMIT :limit
    """
)
_STEPS = text("SELECT * FROM dunning_steps WHERE case_id = :id ORDER BY round, at, id")


class CaseView(View):
    """What is done about an unpaid invoice; instants in the organization's own time."""

    id: Annotated[str, Field(examples=["dun_01kaj3m9x2e8r9v0c7w1q5t4yz"])]
    organization: str
    invoice: str
    number: str
    open: MoneyView
    state: Literal["open", "paused", "exhausted", "resolved"]
    opened_at: Instant
    next_step: Kind | None
    next_step_at: Instant | None
    suspends_at: Annotated[Instant | None, Field(description="When requests are refused unless it is paid.")]
    suspended_at: Annotated[Instant | None, Field(description="Since when it keeps service away.")]
    paused_because: str | None
    resolution: str | None


class StepView(View):
    """A step that was begun, done or passed over."""

    kind: Kind
    number: int
    state: Literal["begun", "done", "skipped"]
    planned_at: Instant
    at: Instant
    outcome: str | None
    payment: str | None


class CaseWithSteps(CaseView):
    """A case and what was done."""

    steps: list[StepView]


class CasesView(View):
    """Cases, the newest first."""

    items: list[CaseView]


class PolicyInput(Input):
    """Rules; what is left out is the layer's below: the plan's, then the house's. Days after the due date."""

    retries: Annotated[list[Days] | None, Field(max_length=MOST_STEPS, examples=[[0, 3, 5, 7]])] = None
    reminders: Annotated[list[Days] | None, Field(max_length=MOST_STEPS, examples=[[1, 7, 12]])] = None
    grace: Annotated[Days | None, Field(description="At least so many days from the case's opening.")] = None
    suspend_after: Annotated[Days | None, Field(description="Null: never.")] = None

    def layer(self) -> dict[str, Any]:
        """Return what was named; null means something for `suspend_after` alone."""
        named = self.model_dump(exclude_unset=True)
        return {name: value for name, value in named.items() if value is not None or name == "suspend_after"}


class PolicyView(View):
    """What a layer of rules names."""

    policy: Annotated[dict[str, Any], Field(examples=[{"suspend_after": 30}])]


class TermsView(PolicyView):
    """An organization's own rules, and whether it is never cut off."""

    exempt_because: str | None
    exempt_until: Instant | None


class PauseCaseInput(Input):
    """Why nothing is done for a while."""

    reason: Because


class ExemptInput(Input):
    """Why, and until when (in the organization's own time); without a reason the exemption ends."""

    reason: Because | None
    until: Future | None = None


class ForeseenStep(View):
    """A step that would be done, and when."""

    kind: Kind
    number: int
    at: Instant


class OutlookView(View):
    """What would be done about an invoice, and why its organization is not cut off for it."""

    organization: str
    name: str
    invoice: str
    number: str
    open: MoneyView
    due_at: Instant
    steps: list[ForeseenStep]
    suspends_at: Instant | None
    kept: Annotated[str | None, Field(description="Why it is not cut off, whatever the date.")]


class PreviewView(View):
    """Everything that would happen by `until`."""

    until: Instant
    reminded: int
    charged: int
    cut_off: int
    items: list[OutlookView]


async def read_cases(
    session: AsyncSession,
    *,
    organization_id: UUID | None = None,
    case_id: UUID | None = None,
    state: str | None = None,
    resolved: bool = False,
    after: UUID | None = None,
    limit: int = 100,
) -> list[tuple[UUID, CaseView]]:
    """Return cases with their ids, the newest first."""
    values = {
        "organization": organization_id, "id": case_id, "state": state, "after": after, "limit": limit,
        "resolved": resolved or state == "resolved" or case_id is not None,
    }  # fmt: skip
    return [(row.id, CaseView(**_shown(row))) for row in await session.execute(_CASES, values)]


async def read_case(session: AsyncSession, case_id: UUID) -> CaseWithSteps | None:
    """Return a case with its steps; None if this session sees no such case."""
    found = await read_cases(session, case_id=case_id)
    if not found:
        return None
    steps = [
        StepView(
            kind=row.kind, number=row.number, state=row.state, planned_at=row.planned_at, at=row.at,
            outcome=row.outcome,
            payment=None if row.payment_id is None else ids.encode("pay", row.payment_id),
        )
        for row in await session.execute(_STEPS, {"id": case_id})
    ]  # fmt: skip
    return CaseWithSteps(**found[0][1].model_dump(), steps=steps)


def preview(until: datetime, outlooks: list[Outlook]) -> PreviewView:
    """Show what is foretold."""

    def having(kind: Kind) -> int:
        return sum(any(step.kind == kind for step in each.steps) for each in outlooks)

    return PreviewView(
        until=until,
        reminded=having("remind"),
        charged=having("charge"),
        cut_off=len({each.debt.organization_id for each in outlooks if each.is_cut_off}),
        items=[_foreseen(each) for each in outlooks],
    )


def _foreseen(each: Outlook) -> OutlookView:
    debt = each.debt
    return OutlookView(
        organization=debt.organization,
        name=debt.organization_name,
        invoice=ids.encode("inv", debt.invoice_id),
        number=debt.number,
        open=money(debt.open),
        due_at=debt.due_at or debt.now,
        steps=[ForeseenStep(kind=step.kind, number=step.number, at=step.at) for step in each.steps],
        suspends_at=each.suspends_at,
        kept=each.kept,
    )


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": ids.encode("dun", row.id),
        "organization": f"org_{row.organization}",
        "invoice": ids.encode("inv", row.invoice_id),
        "number": row.number,
        "open": money(Money(row.currency, row.open_minor)),
        "state": row.state,
        "opened_at": row.opened_at,
        "next_step": row.next_step,
        "next_step_at": row.next_step_at,
        "suspends_at": row.suspends_at,
        "suspended_at": row.suspended_at,
        "paused_because": row.paused_because,
        "resolution": row.resolution,
    }
