"""Limits and quotas that an operator grants one organization in place of its plan's. The gateways follow."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.gateways import service as gateways
from farebox.subscriptions.model import LimitOverride


async def put(
    session: AsyncSession,
    organization_id: UUID,
    *,
    limits: list[Any] | None,
    quota: dict[str, Any] | None,
    entitlements: dict[str, Any] | None = None,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Set what holds in place of the plan's; with nothing take the override away."""
    if limits is None and quota is None and not entitlements:
        await session.execute(delete(LimitOverride).where(LimitOverride.organization_id == organization_id))
    else:
        values = {
            "limits": limits,
            "quota": quota,
            "entitlements": entitlements or {},
            "reason": reason,
            "actor": actor,
            "set_at": now,
        }
        await session.execute(
            insert(LimitOverride)
            .values(organization_id=organization_id, **values)
            .on_conflict_do_update(index_elements=[LimitOverride.organization_id], set_=values)
        )
    await gateways.touch(session, organization_id)
