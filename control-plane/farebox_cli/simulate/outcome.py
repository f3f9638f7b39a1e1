"""A simulation from end to end: what a plan would have earned and refused, beside what was invoiced.

Reads the database as the worker's role and the raw usage lines; writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.clock import OrganizationTime
from farebox.money import Money
from farebox.organizations import test_clock
from farebox.usage.measuring import measured_between
from farebox_cli.errors import CommandError
from farebox_cli.simulate import demand, pricing
from farebox_cli.simulate.pricing import PricedPeriod
from farebox_cli.simulate.replay import Limits, Refusals, Window, replay

_SUBSCRIPTION: Final = text(
    """
    SELECT o.public_id, s.time_zone, s.anchor_day
    FROM organizations o JOIN subscriptions s ON s.organization_id = o.id
    WHERE o.id = :organization ORDER BY s.started_at DESC, s.id DESC LIMIT 1
    """
)
_INVOICED: Final = text(
    """
    SELECT currency, sum(subtotal_minor)::bigint AS minor, count(*) AS invoices FROM invoices
    WHERE organization_id = :organization AND kind = 'period' AND state NOT IN ('draft', 'parked', 'void')
      AND period_start >= :start AND period_end <= :end
    GROUP BY currency ORDER BY currency
    """
)
_METERED: Final = text(
    """
    SELECT COALESCE(sum(r.requests), 0)::bigint
    FROM usage_rollups r JOIN usage_dimensions d ON d.id = r.dimension_id
    WHERE r.organization_id = :organization AND r.bucket >= :start AND r.bucket < :end
      AND d.outcome NOT IN ('unauthorized', 'forbidden')
    """
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database says: the priced periods, what was invoiced instead, how many requests there were."""

    organization: str
    time: OrganizationTime
    periods: Sequence[PricedPeriod]
    invoiced: Sequence[tuple[Money, int]]
    metered_requests: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A simulation's result. `requests_found` of `facts.metered_requests` were in the raw lines: the refusals
    are counted over those. None: no raw lines were looked at.
    """

    facts: Facts
    refusals: Refusals | None
    requests_found: int

    @property
    def total(self) -> Money:
        """What the plan would have earned."""
        currency = self.facts.periods[0].total.currency
        return sum((each.total for each in self.facts.periods), Money(currency, 0))


async def facts(
    session: AsyncSession, organization_id: UUID, plan: pricing.Plan, start: datetime, end: datetime
) -> Facts:
    """Price the stretch. Raises `CommandError` for an organization that never had a subscription."""
    values = {"organization": organization_id, "start": start, "end": end}
    row = (await session.execute(_SUBSCRIPTION, {"organization": organization_id})).one_or_none()
    if row is None:
        raise CommandError("This organization never had a subscription, so it has no billing periods.")
    priced = []
    cuts = pricing.periods(start, end, time_zone=row.time_zone, anchor_day=row.anchor_day)
    for cut, full in cuts:
        measured = await measured_between(session, organization_id, cut.start, cut.end)
        priced.append(pricing.priced(plan, cut, full, measured))
    invoiced = [
        (Money(each.currency, each.minor), each.invoices) for each in await session.execute(_INVOICED, values)
    ]
    seconds = {**values, "start": int(start.timestamp()), "end": int(end.timestamp())}
    metered = int(await session.scalar(_METERED, seconds) or 0)
    time = await test_clock.time_of(session, organization_id)
    return Facts(row.public_id, time, priced, invoiced, metered)


def refusals(found: Facts, document: Mapping[str, Any], logs: Sequence[Path]) -> tuple[Refusals, int]:
    """Replay the raw lines against the plan's limits; returns what they did, and the number of requests."""
    edges = [milliseconds(found.time.wall(each.period.start)) for each in found.periods]
    until = milliseconds(found.time.wall(found.periods[-1].period.end))
    asked = demand.read(demand.log_files(logs), found.organization, since_ms=edges[0], until_ms=until)
    return replay(asked.requests, limits_of(document), edges), len(asked.requests)


def limits_of(document: Mapping[str, Any]) -> Limits:
    """Read a plan's limits and quota."""
    quota = document.get("quota")
    return Limits(
        tuple(
            Window(each["name"], each["requests"], each["window"]) for each in document.get("limits") or ()
        ),
        None if quota is None else quota["units"],
        hard=quota is not None and quota["kind"] == "hard",
    )


def milliseconds(instant: datetime) -> int:
    """Return Unix milliseconds."""
    return round(instant.timestamp() * 1000)
