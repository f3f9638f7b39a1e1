"""Whether a customer may leave a plan at once for a cheaper one: not after using more of it than its time.

Whoever used up what a period includes would otherwise leave and come back, and have it included anew for one
base price instead of paying for what lies beyond. At the period's end he may always leave; operators decide
for themselves.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.invoices import charges as charge_language
from farebox.invoices.rating import Share, Usage
from farebox.invoices.rating.periods import owed_share
from farebox.plans.prices import is_cheaper
from farebox.problems import Refusal
from farebox.subscriptions.periods import period_containing
from farebox.subscriptions.present import present
from farebox.usage.meters import REQUESTS, UNITS
from farebox.usage.service import quantities_for_periods


async def refuse_after_use(
    session: AsyncSession,
    organization_id: UUID,
    *,
    wall: datetime,
    to: Iterable[Mapping[str, Any]] | None = None,
) -> None:
    """Refuse to leave at once for a plan with the charges `to` (None: to cancel) after much use.

    Raises `Refusal` 409 (`subscription_state`), which names what can be done instead.
    """
    here = await present(session, organization_id, wall=wall)
    if here.period_id is None or here.state == "trialing":
        return
    if to is not None and not is_cheaper(to, than=here.own.plan_charges):
        return
    full = period_containing(here.period.start, time_zone=here.time_zone, anchor_day=here.anchor_day)
    seconds = int((here.now - here.period.start).total_seconds())
    whole = int((full.end - full.start).total_seconds())
    quota = here.own.plan_quota
    share = Share(seconds, whole, None if quota is None else Decimal(quota["units"]))
    used = (await quantities_for_periods(session, [here.period_id]))[here.period_id].billable
    usage = {UNITS: Usage(Decimal(used.units)), REQUESTS: Usage(Decimal(used.requests))}
    if owed_share(charge_language.parse(list(here.own.plan_charges)), usage, share) > share.of_time:
        raise Refusal(
            problems.SUBSCRIPTION_STATE,
            "More of this period was used than has passed of it; leave the plan at the period's end.",
        )
