"""Corrections of usage by an operator: dated entries with a reason, added to what was metered.

An entry is never changed; a wrong one is reversed by another. A period's quantity never falls below zero.
In a period that is invoiced already, the difference goes onto the next invoice, like that of a late line. The
quota at the gateways counts requests, not corrections.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.problems import Refusal
from farebox.usage.measuring import (
    Correction,
    corrected,
    correction_of,
    corrections_for_periods,
    measured_for_periods,
)
from farebox.usage.meters import UNITS, Meter, parse
from farebox.usage.model import UsageCorrection

MOST_QUANTITY: Final = 10**12
# The subscription's row is locked, as by whoever ends or rolls its periods.
_PERIOD: Final = text(
    """
    SELECT p.id, p.subscription_id, p.starts_at, p.ends_at, to_jsonb(v) -> 'meters' AS meters
    FROM billing_periods p
    JOIN subscriptions s ON s.id = p.subscription_id
    JOIN plan_versions v ON v.id = s.plan_version_id
    WHERE p.organization_id = :organization AND p.starts_at <= :at AND :at < p.ends_at
    ORDER BY p.starts_at DESC LIMIT 1
    FOR NO KEY UPDATE OF s, p
    """
)


async def enter(
    session: AsyncSession,
    organization_id: UUID,
    *,
    at: datetime,
    quantity: int,
    reason: str,
    actor: str,
    meter: str = UNITS,
    now: datetime,
    reverses: UUID | None = None,
) -> Correction:
    """Add `quantity` (may be negative) to a meter in the period that holds `at` (the organization's time).

    Raises `Refusal`: 422 for a quantity of 0 or beyond 10^12, an unknown meter, or a time in no period; 409
    if the period's quantity would fall below zero (`details.quantity` is what it is now).
    """
    if quantity == 0 or abs(quantity) > MOST_QUANTITY:
        raise _invalid("quantity", f"must be a whole number from -{MOST_QUANTITY} to {MOST_QUANTITY}, not 0")
    period = (await session.execute(_PERIOD, {"organization": organization_id, "at": at})).one_or_none()
    if period is None:
        raise _invalid("at", "lies in no billing period of this organization; choose a time within one")
    meters: tuple[Meter, ...] = parse(period.meters or [])
    before = corrected(
        meters,
        (await measured_for_periods(session, [period.id]))[period.id],
        (await corrections_for_periods(session, [period.id]))[period.id],
    )
    if meter not in before:
        raise _invalid("meter", f"the plan has no meter {meter!r}; there are {', '.join(sorted(before))}")
    if before[meter] + quantity < 0:
        raise Refusal(problems.USAGE_BELOW_ZERO, details={"meter": meter, "quantity": before[meter]})
    row = UsageCorrection(
        id=ids.uuid7(),
        organization_id=organization_id,
        subscription_id=period.subscription_id,
        period_id=period.id,
        meter=meter,
        quantity=quantity,
        at=at,
        reason=reason,
        actor=actor,
        reverses=reverses,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return correction_of(row)


async def reverse(
    session: AsyncSession,
    organization_id: UUID,
    correction_id: UUID,
    *,
    reason: str,
    actor: str,
    now: datetime,
) -> Correction:
    """Reverse an entry by another. Raises `Refusal`: 404, 409 (reversed before, or below zero)."""
    found = await session.get(UsageCorrection, correction_id)
    if found is None or found.organization_id != organization_id:
        raise Refusal(problems.NOT_FOUND)
    if found.reverses is not None:
        raise Refusal(problems.CORRECTION_REVERSED, "A reversal is not reversed; enter the correction anew.")
    if await session.scalar(select(UsageCorrection.id).where(UsageCorrection.reverses == correction_id)):
        raise Refusal(problems.CORRECTION_REVERSED)
    try:
        async with session.begin_nested():
            return await enter(
                session,
                organization_id,
                at=found.at,
                quantity=-found.quantity,
                reason=reason,
                actor=actor,
                meter=found.meter,
                now=now,
                reverses=found.id,
            )
    except IntegrityError as error:
        if "uq_usage_corrections_reverses" not in str(error.orig):
            raise
        raise Refusal(problems.CORRECTION_REVERSED) from None


async def entries(
    session: AsyncSession, organization_id: UUID, *, limit: int, after: UUID | None = None
) -> list[Correction]:
    """Return an organization's entries, newest first, those before `after`."""
    wanted = select(UsageCorrection).where(UsageCorrection.organization_id == organization_id)
    if after is not None:
        wanted = wanted.where(UsageCorrection.id < after)
    rows = await session.scalars(wanted.order_by(UsageCorrection.id.desc()).limit(limit))
    return [correction_of(row) for row in rows]


def _invalid(field: str, problem: str) -> Refusal:
    return Refusal(problems.INVALID_REQUEST, details={"fields": [{"field": field, "problem": problem}]})
