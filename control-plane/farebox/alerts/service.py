"""A customer's spending cap and thresholds: setting, showing, taking away. Owns what `alerts.model` holds.

What passed a threshold is found by the worker; what a cap comes to at the gateways, by `subscriptions.terms`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.alerts.caps import units_within
from farebox.alerts.model import AlertFiring, AlertThreshold, SpendingCap
from farebox.gateways import service as gateways
from farebox.money import Money
from farebox.problems import Refusal

Kind = Literal["quota_percent", "cap_percent", "amount"]


@dataclass(frozen=True, slots=True, order=True)
class Threshold:
    """`value` is percent, or minor units of the plan's currency."""

    kind: Kind
    value: int


@dataclass(frozen=True, slots=True)
class Watched:
    """A threshold and when it was last passed."""

    threshold: Threshold
    fired_at: datetime | None


async def cap_of(session: AsyncSession, organization_id: UUID) -> Money | None:
    """Return the organization's cap."""
    found = await session.get(SpendingCap, organization_id, populate_existing=True)
    return None if found is None else Money(found.currency, found.amount_minor)


async def set_cap(
    session: AsyncSession,
    organization_id: UUID,
    cap: Money,
    *,
    charges: list[dict[str, object]],
    actor: str,
    now: datetime,
) -> int | None:
    """Set the cap; from here on the gateways refuse what would pass it. Returns the units that it lets
    through in a period, None if it cannot be reached. Raises `Refusal` 422 below the plan's base price.
    """
    within = units_within(charges, cap)
    if within == -1:
        raise Refusal(problems.CAP_TOO_LOW)
    values = {"amount_minor": cap.minor, "currency": cap.currency, "actor": actor, "set_at": now}
    await session.execute(
        insert(SpendingCap)
        .values(organization_id=organization_id, **values)
        .on_conflict_do_update(index_elements=[SpendingCap.organization_id], set_=values)
    )
    await gateways.touch(session, organization_id)
    return within


async def drop_cap(session: AsyncSession, organization_id: UUID) -> None:
    """Take the cap away. Doing it twice is doing it once."""
    await session.execute(delete(SpendingCap).where(SpendingCap.organization_id == organization_id))
    await gateways.touch(session, organization_id)


async def thresholds(session: AsyncSession, organization_id: UUID) -> list[Watched]:
    """Return the organization's thresholds, each with when it was last passed."""
    last = (
        select(func.max(AlertFiring.fired_at))
        .where(AlertFiring.threshold_id == AlertThreshold.id)
        .scalar_subquery()
    )
    rows = await session.execute(
        select(AlertThreshold.kind, AlertThreshold.value, last)
        .where(AlertThreshold.organization_id == organization_id)
        .order_by(AlertThreshold.kind, AlertThreshold.value)
    )
    return [Watched(Threshold(cast("Kind", row[0]), row[1]), row[2]) for row in rows]


async def set_thresholds(
    session: AsyncSession, organization_id: UUID, wanted: Sequence[Threshold], *, now: datetime
) -> None:
    """Have exactly these thresholds. One that stays keeps what it has told already."""
    had = {each.threshold for each in await thresholds(session, organization_id)}
    for gone in had - set(wanted):
        await session.execute(
            delete(AlertThreshold).where(
                AlertThreshold.organization_id == organization_id,
                AlertThreshold.kind == gone.kind,
                AlertThreshold.value == gone.value,
            )
        )
    for new in sorted(set(wanted) - had):
        await session.execute(
            insert(AlertThreshold)
            .values(
                id=ids.uuid7(),
                organization_id=organization_id,
                kind=new.kind,
                value=new.value,
                created_at=now,
            )
            .on_conflict_do_nothing()
        )
