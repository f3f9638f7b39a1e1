"""API keys: issuing, listing, revoking. The text of a key exists in one answer and nowhere else.

Every change bumps the organization's revision in the same transaction, and the key remembers it: once the
gateways have applied that revision, the change is enforced.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.gateways import service as gateways
from farebox.keys.model import ApiKey
from farebox.problems import Refusal
from farebox_contract.keys import Environment, IssuedKey, public_id
from farebox_contract.keys import issue as make_key

KEYS_PER_ORGANIZATION: Final = 1_000
_WRITTEN: Final = (
    "id", "organization_id", "public_id", "name", "environment", "digest", "hint", "state", "edge_revision",
    "expires_at", "created_by", "created_at",
)  # fmt: skip


_STANDING: Final = text(
    """
    SELECT o.public_id, u.email_verified_at IS NOT NULL AS verified,
           (SELECT count(*) FROM api_keys k WHERE k.organization_id = o.id AND k.state = 'active'
            AND (k.expires_at IS NULL OR k.expires_at > :now)) AS active
    FROM organizations o CROSS JOIN users u
    WHERE o.id = :organization AND u.id = :creator
    """
)
_INSERT: Final = insert(ApiKey.__table__).values(  # type: ignore[arg-type]
    {
        "metadata": bindparam("extra", type_=ApiKey.__table__.c["metadata"].type),
        **{column: bindparam(column) for column in _WRITTEN},
    }
)


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
    # `touch` locks the organization's row first, so that two requests cannot both take the last place.
    revision = await gateways.touch(session, organization_id)
    found = (
        await session.execute(_STANDING, {"organization": organization_id, "creator": creator, "now": now})
    ).one()
    if environment == "live" and not found.verified:
        raise Refusal(problems.EMAIL_NOT_VERIFIED)
    if found.active >= KEYS_PER_ORGANIZATION:
        raise Refusal(problems.TOO_MANY_KEYS, details={"maximum": KEYS_PER_ORGANIZATION})
    key = make_key(environment, found.public_id, public_id(), prefix=prefix)
    values = {
        "id": ids.uuid7(),
        "organization_id": organization_id,
        "public_id": key.name.key,
        "name": name,
        "environment": environment,
        "digest": key.digest,
        "hint": key.text[-4:],
        "state": "active",
        "edge_revision": revision,
        "expires_at": expires_at,
        "extra": metadata,
        "created_by": creator,
        "created_at": now,
    }
    await session.execute(_INSERT, values)
    return Issued(ApiKey(**values), key)


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
