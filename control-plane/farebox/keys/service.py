"""API keys: issuing, listing, revoking. The text of a key exists in one answer and nowhere else.

Every change bumps the organization's revision in the same transaction, and the key remembers it: once the
gateways have applied that revision, the change is enforced.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.gateways import service as gateways
from farebox.keys.model import ApiKey
from farebox.organizations.model import Organization
from farebox.problems import Refusal
from farebox.users import service as users
from farebox_contract.keys import Environment, IssuedKey, public_id
from farebox_contract.keys import issue as make_key

KEYS_PER_ORGANIZATION: Final = 1_000


class KeyState(StrEnum):
    """Where a key stands: what was decided, and whether the gateways have it yet."""

    PENDING = "pending"
    ENFORCED = "enforced"
    EXPIRED = "expired"
    REVOKING = "revoking"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key: its row, and the text that is shown this once."""

    row: ApiKey
    key: IssuedKey


def state_of(
    stored: str, edge_revision: int, expires_at: datetime | None, *, enforced: int, now: datetime
) -> KeyState:
    """Return the state of a key when the gateways have applied the organization's revision `enforced`."""
    if stored == "revoked":
        return KeyState.REVOKED if edge_revision <= enforced else KeyState.REVOKING
    if expires_at is not None and expires_at <= now:
        return KeyState.EXPIRED
    return KeyState.ENFORCED if edge_revision <= enforced else KeyState.PENDING


async def issue(
    session: AsyncSession,
    organization_id: UUID,
    *,
    creator: UUID,
    name: str,
    environment: Environment,
    expires_at: datetime | None,
    metadata: dict[str, str],
    prefix: str,
    now: datetime,
) -> Issued:
    """Issue a key. Raises `Refusal`: 403 (live key, unverified user), 409 (the bound), 422 (expiry)."""
    if expires_at is not None and expires_at <= now:
        raise Refusal(problems.EXPIRY_IN_THE_PAST)
    if environment == "live" and not await users.is_verified(session, creator):
        raise Refusal(problems.EMAIL_NOT_VERIFIED)
    # `touch` locks the organization's row first, so that two requests cannot both take the last place.
    revision = await gateways.touch(session, organization_id)
    active = await session.scalar(
        select(func.count())
        .select_from(ApiKey)
        .where(
            ApiKey.organization_id == organization_id,
            ApiKey.state == "active",
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
        )
    )
    if (active or 0) >= KEYS_PER_ORGANIZATION:
        raise Refusal(problems.TOO_MANY_KEYS, details={"maximum": KEYS_PER_ORGANIZATION})
    organization = await session.scalar(
        select(Organization.public_id).where(Organization.id == organization_id)
    )
    if organization is None:
        raise Refusal(problems.NOT_FOUND)
    key = make_key(environment, organization, public_id(), prefix=prefix)
    row = ApiKey(
        id=ids.uuid7(),
        organization_id=organization_id,
        public_id=key.name.key,
        name=name,
        environment=environment,
        digest=key.digest,
        hint=key.text[-4:],
        state="active",
        edge_revision=revision,
        expires_at=expires_at,
        extra=metadata,
        created_by=creator,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return Issued(row, key)


async def get(session: AsyncSession, organization_id: UUID, key_id: str) -> ApiKey:
    """Return a key by its public id. Raises `Refusal` 404."""
    row = (
        await session.scalars(
            select(ApiKey).where(ApiKey.organization_id == organization_id, ApiKey.public_id == key_id)
        )
    ).one_or_none()
    if row is None:
        raise Refusal(problems.NOT_FOUND)
    return row


async def revoke(
    session: AsyncSession,
    organization_id: UUID,
    key_id: str,
    *,
    revoker: UUID,
    may_revoke_all: bool,
    now: datetime,
) -> ApiKey:
    """Revoke a key for good; revoking a revoked one changes nothing. Raises `Refusal`: 404, 403."""
    row = await get(session, organization_id, key_id)
    if not may_revoke_all and row.created_by != revoker:
        raise Refusal(problems.FORBIDDEN, "Members may revoke only keys that they created themselves.")
    if row.state == "revoked":
        return row
    revision = await gateways.touch(session, organization_id)
    await session.refresh(row)
    if row.state == "active":
        row.state, row.edge_revision, row.revoked_by, row.revoked_at = "revoked", revision, revoker, now
        await session.flush()
    return row
