"""Rotation: a successor takes over, the old key lives on for a grace and then is gone.

Both are keys of one organization, so they share its limits and its quota. The old key never outlives the
expiry it had, and a key that was rotated is not rotated again: its successor is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.gateways import service as gateways
from farebox.keys import service
from farebox.keys.model import ApiKey
from farebox.keys.service import Issued
from farebox.problems import Refusal
from farebox_contract.keys import Environment

DEFAULT_GRACE: Final = timedelta(days=1)
LONGEST_GRACE: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Rotated:
    """The successor with its text, and the key that it replaces."""

    successor: Issued
    old: ApiKey


async def rotate(
    session: AsyncSession,
    organization_id: UUID,
    key_id: str,
    *,
    rotator: UUID,
    may_rotate_all: bool,
    grace: timedelta,
    expires_at: datetime | None,
    prefix: str,
    now: datetime,
) -> Rotated:
    """Issue the successor of a living key; the old one ends `grace` from now, or at its expiry if sooner.

    The successor has its name, environment, restrictions and metadata. `expires_at` is the successor's; None:
    as long a life as the old key was given, or no end. Without a grace the old key is revoked at once.
    Raises `Refusal`: 404, 403, 409 (revoked, expired, rotated before), and what issuing raises.
    """
    old = await service.own(session, organization_id, key_id, user=rotator, may_touch_all=may_rotate_all)
    # The organization's row is locked before the key's, as everywhere.
    revision = await gateways.touch(session, organization_id)
    await session.refresh(old, with_for_update=True)
    service.refuse_unless_living(old, now=now)
    if old.replaced_by is not None:
        successor = await session.scalar(select(ApiKey.public_id).where(ApiKey.id == old.replaced_by))
        raise Refusal(problems.KEY_ALREADY_ROTATED, details={"replaced_by": f"key_{successor}"})
    if expires_at is None and old.expires_at is not None:
        expires_at = now + (old.expires_at - old.created_at)
    if grace <= timedelta():
        # Before its successor is issued: at the bound of active keys the one makes room for the other.
        old.state, old.revoked_at, old.revoked_by, old.revoked_reason = "revoked", now, rotator, "rotated"
    else:
        ends = now + grace
        old.expires_at = ends if old.expires_at is None else min(ends, old.expires_at)
    old.edge_revision = revision
    await session.flush()
    issued = await service.issue(
        session,
        organization_id,
        creator=rotator,
        name=old.name,
        environment=_environment(old),
        expires_at=expires_at,
        metadata=old.extra,
        scopes=old.scopes,
        cidrs=old.cidrs,
        replaces=old.id,
        prefix=prefix,
        now=now,
    )
    old.replaced_by = issued.row.id
    await session.flush()
    return Rotated(issued, old)


def _environment(row: ApiKey) -> Environment:
    return "live" if row.environment == "live" else "test"
