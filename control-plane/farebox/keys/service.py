"""API keys: issuing, editing, revoking. The text of a key exists in one answer and nowhere else.

Every change bumps the organization's revision in the same transaction, and the key remembers it: once the
gateways have applied that revision, the change is enforced.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, outbox, problems
from farebox.gateways import service as gateways
from farebox.keys.model import ApiKey
from farebox.problems import Refusal
from farebox_contract.keys import Environment, IssuedKey, public_id
from farebox_contract.keys import issue as make_key

KEYS_PER_ORGANIZATION: Final = 1_000
_WRITTEN: Final = (
    "id", "organization_id", "public_id", "name", "environment", "digest", "hint", "state", "edge_revision",
    "expires_at", "created_by", "created_at", "scopes", "cidrs", "origin", "replaces",
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
    scopes: list[str] | None = None,
    cidrs: list[str] | None = None,
    replaces: UUID | None = None,
) -> Issued:
    """Issue a key. Raises `Refusal`: 403 (live key, unverified user), 409 (the bound), 422 (expiry).

    `scopes` and `cidrs` in the form of `farebox.keys.restrictions`; None restricts nothing.
    """
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
        "scopes": scopes,
        "cidrs": cidrs,
        "origin": "issued",
        "replaces": replaces,
    }
    await session.execute(_INSERT, values)
    await outbox.enqueue(
        session, outbox.KEY_CREATED, organization=organization_id, payload={"key": key.name.key}
    )
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
    row = await own(session, organization_id, key_id, user=revoker, may_touch_all=may_revoke_all)
    if row.state == "revoked":
        return row
    revision = await gateways.touch(session, organization_id)
    await session.refresh(row)
    if row.state == "active":
        row.state, row.edge_revision, row.revoked_by, row.revoked_at = "revoked", revision, revoker, now
        row.revoked_reason = "revoked"
        await session.flush()
    return row


async def edit(
    session: AsyncSession,
    organization_id: UUID,
    key_id: str,
    *,
    editor: UUID,
    may_edit_all: bool,
    changes: Mapping[str, Any],
    now: datetime,
) -> ApiKey:
    """Change `name`, `extra`, `scopes`, `cidrs`, `expires_at` of a living key; what is left out stays.

    Raises `Refusal`: 404, 403, 409 (revoked, expired, or the expiry of a rotated key is to move back), 422
    (expiry in the past). A key that is over stays so: no renewal revives it.
    """
    row = await own(session, organization_id, key_id, user=editor, may_touch_all=may_edit_all)
    expiry = changes.get("expires_at", row.expires_at)
    if expiry is not None and expiry != row.expires_at and expiry <= now:
        raise Refusal(problems.EXPIRY_IN_THE_PAST)
    enforced = any(
        name in changes and changes[name] != getattr(row, name) for name in ("scopes", "cidrs", "expires_at")
    )
    revision = await gateways.touch(session, organization_id) if enforced else None
    await session.refresh(row, with_for_update=True)
    refuse_unless_living(row, now=now)
    if (
        row.replaced_by is not None
        and row.expires_at is not None
        and (expiry is None or expiry > row.expires_at)
    ):
        raise Refusal(
            problems.KEY_IS_OVER, "This key was rotated and ends at its grace; its successor takes over."
        )
    for name, value in changes.items():
        setattr(row, name, value)
    if revision is not None:
        row.edge_revision = revision
    await session.flush()
    return row


async def own(
    session: AsyncSession, organization_id: UUID, key_id: str, *, user: UUID, may_touch_all: bool
) -> ApiKey:
    """Return a key that this user may change: his own, or any. Raises `Refusal`: 404, 403."""
    row = await get(session, organization_id, key_id)
    if not may_touch_all and row.created_by != user:
        raise Refusal(problems.FORBIDDEN, "Members may change only keys that they created themselves.")
    return row


def refuse_unless_living(row: ApiKey, *, now: datetime) -> None:
    """Raise `Refusal` 409 for a key that is revoked or expired."""
    if row.state == "revoked":
        raise Refusal(problems.KEY_IS_OVER, "This key is revoked for good; issue another.")
    if row.expires_at is not None and row.expires_at <= now:
        raise Refusal(problems.KEY_IS_OVER, "This key has expired; issue another.")
