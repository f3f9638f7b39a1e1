"""What the schedule decides on, read in one statement: the invoice, its case, its charges, the rules.

Reads rows and maps the wall's instants into the organization's own time; decides nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.clock import OrganizationTime
from farebox.dunning import schedule
from farebox.dunning.policy import Policy, layered
from farebox.dunning.schedule import Facts, Kind
from farebox.money import Money
from farebox.organizations import test_clock

_READ: Final = text(
    """
    SELECT i.id AS invoice_id, i.organization_id, o.public_id AS organization, o.name AS organization_name,
           i.number, i.currency, i.open_minor, i.state AS invoice_state, i.finalized_at, i.due_at,
           i.disputed_at, i.collection, b.net_days, h.policy AS house, p.policy AS plan, t.policy AS own,
           t.exempt_because, t.exempt_until, c.id AS case_id, c.state AS case_state, c.round, c.since,
           c.warned_at, c.suspended_at, c.paused_because, c.paused_by, tried.at AS tried_at,
           COALESCE(tried.under_way, false) AS under_way, COALESCE(done.steps, '{}'::jsonb) AS done,
           EXISTS (SELECT FROM payment_allocations a WHERE a.invoice_id = i.id AND a.reversed_minor > 0)
               AS was_given_back
    FROM invoices i
    JOIN organizations o ON o.id = i.organization_id
    JOIN subscriptions s ON s.id = i.subscription_id
    JOIN plan_versions v ON v.id = s.plan_version_id
    JOIN dunning_policies h ON h.plan_id IS NULL
    LEFT JOIN dunning_policies p ON p.plan_id = v.plan_id
    LEFT JOIN dunning_terms t ON t.organization_id = i.organization_id
    LEFT JOIN billing_profiles b ON b.organization_id = i.organization_id
    LEFT JOIN dunning_cases c ON c.invoice_id = i.id
    LEFT JOIN LATERAL (
        SELECT max(p.created_at) FILTER (WHERE p.flow = 'charge' AND p.state IN ('failed', 'requires_action'))
                   AS at,
               bool_or(p.state IN ('created', 'processing')) AS under_way
        FROM payments p
        WHERE p.organization_id = i.organization_id AND (p.invoice_id = i.id OR p.invoice_id IS NULL)
    ) tried ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(d.kind, d.number) AS steps
        FROM (SELECT kind, max(number) AS number FROM dunning_steps
              WHERE case_id = c.id AND round = c.round GROUP BY kind) d
    ) done ON true
    WHERE i.id = ANY(:invoices)
    ORDER BY i.due_at, i.number
    """
).columns(house=JSONB(), plan=JSONB(), own=JSONB(), done=JSONB())


@dataclass(frozen=True, slots=True)
class Debt:
    """An invoice as dunning sees it. `due_at` is in the organization's time, None where nothing was open
    when it was issued; `facts` are those of its case, or of the case that would be opened at `now`.
    """

    invoice_id: UUID
    organization_id: UUID
    organization: str
    organization_name: str
    number: str
    open: Money
    invoice_state: str
    due_at: datetime | None
    case_id: UUID | None
    case_state: str | None
    round: int
    paused_because: str | None
    paused_by: str | None
    exempt_because: str | None
    is_disputed: bool
    policy: Policy
    facts: Facts
    now: datetime

    @property
    def is_overdue(self) -> bool:
        """Whether it is asked for and its due date has passed."""
        return self.facts.is_owed and self.due_at is not None and self.due_at <= self.now


async def read(session: AsyncSession, invoices: Collection[UUID], *, wall: datetime) -> list[Debt]:
    """Return what is known of the invoices, the oldest debt first. `wall` is the wall's time."""
    if not invoices:
        return []
    times: dict[UUID, OrganizationTime] = {}
    found = []
    for row in await session.execute(_READ, {"invoices": list(invoices)}):
        if row.organization_id not in times:
            times[row.organization_id] = await test_clock.time_of(session, row.organization_id)
        found.append(_debt(row, times[row.organization_id], wall))
    return found


def due(time: OrganizationTime, finalized_at: datetime, due_at: datetime) -> datetime:
    """Return the due date in the organization's time: the terms are counted there from the issue on."""
    terms: timedelta = due_at - finalized_at
    return time.at(finalized_at) + terms


def _debt(row: Any, time: OrganizationTime, wall: datetime) -> Debt:
    now = time.at(wall)
    due_at = None if row.due_at is None else due(time, row.finalized_at, row.due_at)
    is_open = row.case_id is not None and row.case_state != "resolved"
    policy = layered(row.house, row.plan, row.own)
    warned_at = row.warned_at if is_open else max(now, due_at or now)
    is_exempt = row.exempt_because is not None and (row.exempt_until is None or now < row.exempt_until)
    if row.exempt_until is not None and not is_exempt:
        warned_at = max(warned_at, row.exempt_until)
    on_terms = row.collection == "send_invoice" or row.net_days is not None
    has_say = (row.own or {}).get("suspend_after") is not None
    return Debt(
        invoice_id=row.invoice_id,
        organization_id=row.organization_id,
        organization=f"org_{row.organization}",
        organization_name=row.organization_name,
        number=row.number or "",
        open=Money(row.currency, row.open_minor or 0),
        invoice_state=row.invoice_state,
        due_at=due_at,
        case_id=row.case_id,
        case_state=row.case_state,
        round=row.round or 1,
        paused_because=row.paused_because,
        paused_by=row.paused_by,
        exempt_because=row.exempt_because if is_exempt else None,
        is_disputed=row.disputed_at is not None,
        policy=policy,
        facts=Facts(
            since=row.since if is_open else _first_day(row, due_at, now),
            warned_at=warned_at,
            open_minor=row.open_minor or 0,
            invoice_state=row.invoice_state,
            # What was refunded or charged back is asked for by letter; no card is charged for it again.
            is_automatic=row.collection == "automatic" and not row.was_given_back,
            is_disputed=row.disputed_at is not None,
            is_paused=is_open and row.case_state == "paused",
            is_exempt=is_exempt,
            pays_by_invoice=on_terms and not has_say,
            is_suspended=is_open and row.suspended_at is not None,
            under_way=row.under_way,
            last_attempt_at=None if row.tried_at is None else time.at(row.tried_at),
            done=cast("Mapping[Kind, int]", row.done) if is_open else {},
        ),
        now=now,
    )


def _first_day(row: Any, due_at: datetime | None, now: datetime) -> datetime:
    # An invoice that was paid once and asks again is dunned from the start, from the day it asked again.
    if row.case_id is not None or row.was_given_back or due_at is None:
        return max(now, due_at or now)
    return due_at


def suspended(debt: Debt) -> bool:
    """Tell whether this debt alone keeps service from the organization."""
    return debt.facts.is_suspended and debt.facts.is_owed and not debt.facts.is_disputed


def decide(debt: Debt) -> schedule.Decision:
    """Return what is to be done about the debt now."""
    return schedule.decide(debt.policy, debt.facts, debt.now)
