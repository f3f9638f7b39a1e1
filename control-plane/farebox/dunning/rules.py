"""Setting the rules that dunning follows, and exempting an organization from being cut off.

Whoever changes an organization's has its cases looked at again; those of a plan or of the house the worker
sees by their date.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.dunning import policy as policies
from farebox.dunning import service
from farebox.dunning.model import DunningPolicy, DunningTerms
from farebox.dunning.policy import PolicyError
from farebox.plans.model import Plan
from farebox.problems import Refusal
from farebox.subscriptions import service as subscriptions

# Cases that wait for a date are due at once, and look for themselves.
_LOOK_AGAIN: Final = text(
    """
    UPDATE dunning_cases SET state = 'open', next_step_at = opened_at
    WHERE state IN ('open', 'exhausted') AND organization_id = :organization
    """
)
_GIVE_BACK: Final = text(
    "UPDATE dunning_cases SET suspended_at = NULL WHERE organization_id = :organization "
    "AND state <> 'resolved'"
)
_GRACE_ANEW: Final = text(
    "UPDATE dunning_cases SET warned_at = :now WHERE organization_id = :organization AND state <> 'resolved'"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for one organization: its own layer of rules, and whether it is exempt."""

    own: Mapping[str, Any]
    exempt_because: str | None
    exempt_until: datetime | None


async def house_layer(session: AsyncSession) -> dict[str, Any]:
    """Return the rules of the house."""
    found = await session.scalar(select(DunningPolicy.policy).where(DunningPolicy.plan_id.is_(None)))
    return found or {}


async def set_house(session: AsyncSession, layer: Mapping[str, Any], *, actor: str, now: datetime) -> None:
    """Change what the layer names in the rules of the house. Raises `Refusal` 422."""
    _checked(layer)
    await _put(session, None, {**await house_layer(session), **layer}, actor=actor, now=now)


async def set_for_plan(
    session: AsyncSession, plan: str, layer: Mapping[str, Any], *, actor: str, now: datetime
) -> None:
    """Replace the rules of a plan, all its versions; an empty layer leaves it the house's. Raises `Refusal`
    404, 422.
    """
    _checked(layer)
    plan_id = await session.scalar(select(Plan.id).where(Plan.code == plan))
    if plan_id is None:
        raise Refusal(problems.NOT_FOUND, f"There is no plan {plan!r}.")
    await _put(session, plan_id, layer, actor=actor, now=now)


async def of_plan(session: AsyncSession, plan: str) -> dict[str, Any]:
    """Return what a plan's rules name. Raises `Refusal` 404."""
    plan_id = await session.scalar(select(Plan.id).where(Plan.code == plan))
    if plan_id is None:
        raise Refusal(problems.NOT_FOUND, f"There is no plan {plan!r}.")
    return await session.scalar(select(DunningPolicy.policy).where(DunningPolicy.plan_id == plan_id)) or {}


async def standing(session: AsyncSession, organization_id: UUID) -> Standing:
    """Return what holds for the organization."""
    row = await session.get(DunningTerms, organization_id, populate_existing=True)
    return (
        Standing({}, None, None)
        if row is None
        else Standing(row.policy, row.exempt_because, row.exempt_until)
    )


async def set_own(
    session: AsyncSession, organization_id: UUID, layer: Mapping[str, Any], *, actor: str, now: datetime
) -> None:
    """Replace an organization's own rules; an empty layer leaves it its plan's. Raises `Refusal` 422."""
    _checked(layer)
    await _set_terms(session, organization_id, {"policy": dict(layer)}, actor=actor, now=now)
    await session.execute(_LOOK_AGAIN, {"organization": organization_id})


async def exempt(
    session: AsyncSession,
    organization_id: UUID,
    *,
    because: str,
    until: datetime | None,
    actor: str,
    wall: datetime,
) -> None:
    """Never cut the organization off (`until` an instant of its own time); it is served again.

    It is reminded and charged as before.
    """
    await subscriptions.standing(session, organization_id, wall=wall)
    values = {"exempt_because": because[:500], "exempt_until": until}
    await _set_terms(session, organization_id, values, actor=actor, now=wall)
    await session.execute(_GIVE_BACK, {"organization": organization_id})
    await session.execute(_LOOK_AGAIN, {"organization": organization_id})
    await service.restore(session, organization_id, cause=f"exempt: {because}", wall=wall)


async def end_exemption(session: AsyncSession, organization_id: UUID, *, actor: str, wall: datetime) -> None:
    """Treat the organization like any other again; the grace of its cases begins anew."""
    now = (await subscriptions.standing(session, organization_id, wall=wall)).now
    values = {"exempt_because": None, "exempt_until": None}
    await _set_terms(session, organization_id, values, actor=actor, now=wall)
    await session.execute(_GRACE_ANEW, {"organization": organization_id, "now": now})
    await session.execute(_LOOK_AGAIN, {"organization": organization_id})


def _checked(layer: Mapping[str, Any]) -> None:
    try:
        policies.check(layer)
    except PolicyError as error:
        raise Refusal(problems.DUNNING_RULES, f"These rules cannot be followed: {error}.") from error


async def _put(
    session: AsyncSession, plan_id: UUID | None, layer: Mapping[str, Any], *, actor: str, now: datetime
) -> None:
    values = {"policy": dict(layer), "actor": actor[:100], "set_at": now}
    await session.execute(
        insert(DunningPolicy)
        .values(id=ids.uuid7(), plan_id=plan_id, **values)
        .on_conflict_do_update(index_elements=["plan_id"], set_=values)
    )


async def _set_terms(
    session: AsyncSession, organization_id: UUID, changed: dict[str, Any], *, actor: str, now: datetime
) -> None:
    values = {**changed, "actor": actor[:100], "set_at": now}
    await session.execute(
        insert(DunningTerms)
        .values(organization_id=organization_id, **values)
        .on_conflict_do_update(index_elements=["organization_id"], set_=values)
    )
