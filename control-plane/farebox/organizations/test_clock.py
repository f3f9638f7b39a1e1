"""An organization's own time, and moving it ahead: only in test mode, only forward.

Whoever maps wall time to an organization's (the collector, a change of plan) holds the lock shared while he
does; an advance holds it alone and takes the wall time under it. So nothing is mapped with an offset whose
beginning had already passed.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.clock import Clock, ClockOffset, OrganizationTime
from farebox.gateways import service as gateways
from farebox.organizations.model import Organization, TestClockOffset

_LOCK_ALONE: Final = text("SELECT pg_advisory_xact_lock(hashtext('farebox test clock'))")
_LOCK_SHARED: Final = text("SELECT pg_advisory_xact_lock_shared(hashtext('farebox test clock'))")
FARTHEST: Final = timedelta(days=366 * 50)


class TestClockError(ValueError):
    """The clock cannot be moved so; the text says why and what can be done."""

    __test__ = False


async def time_of(session: AsyncSession, organization_id: UUID) -> OrganizationTime:
    """Return the organization's time line."""
    rows = await session.execute(
        select(TestClockOffset.began_at, TestClockOffset.offset_ms)
        .where(TestClockOffset.organization_id == organization_id)
        .order_by(TestClockOffset.began_at)
    )
    return OrganizationTime(
        [ClockOffset(row.began_at, timedelta(milliseconds=row.offset_ms)) for row in rows]
    )


async def hold_still(session: AsyncSession) -> None:
    """Keep every test clock from being advanced until this transaction ends."""
    await session.execute(_LOCK_SHARED)


async def advance(
    session: AsyncSession,
    organization_id: UUID,
    *,
    clock: Clock,
    by: timedelta | None = None,
    to: datetime | None = None,
) -> datetime:
    """Move the organization's time ahead `by` a stretch or `to` an instant; returns its new present.

    Needs the worker's role. Raises `TestClockError` outside test mode, backwards, or absurdly far ahead.
    """
    if (by is None) == (to is None):
        raise TestClockError("say either how far to advance or to which instant")
    await session.execute(_LOCK_ALONE)
    organization = await session.get(Organization, organization_id)
    if organization is None:
        raise TestClockError("there is no such organization")
    if not organization.test_mode:
        raise TestClockError("the organization is not in test mode; its time is the wall's")
    wall = clock.now()
    present = (await time_of(session, organization_id)).at(wall)
    target = present + by if by is not None else to
    if target is None or target < present:
        raise TestClockError(f"time never runs backwards: it is {present.isoformat()} there")
    if target - wall > FARTHEST:
        raise TestClockError("no clock may run more than 50 years ahead")
    # Rounded up to the millisecond that is stored, so that the target is reached and nothing runs backwards.
    offset_ms = -((wall - target) // timedelta(milliseconds=1))
    session.add(TestClockOffset(organization_id=organization_id, began_at=wall, offset_ms=offset_ms))
    await session.flush()
    await gateways.touch(session, organization_id)
    return wall + timedelta(milliseconds=offset_ms)
