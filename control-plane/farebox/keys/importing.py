"""Keys that were issued elsewhere: taken over as SHA-256 digests, so that their holders notice nothing.

Their text names nobody. At the gateway they stand under one consumer, each named by its digest and saying
whose it is. Everything else holds for them as for keys of our own, rotation included.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.gateways import service as gateways
from farebox.keys.model import ApiKey
from farebox.keys.service import KEYS_PER_ORGANIZATION
from farebox.problems import Refusal
from farebox_contract.keys import Environment, public_id

MOST_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A key to take over: the SHA-256 of its text in lower-case hexadecimal, and what is known of it."""

    digest: str
    name: str
    environment: Environment = "live"
    hint: str = ""
    expires_at: datetime | None = None
    scopes: list[str] | None = None
    cidrs: list[str] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


async def take_over(
    session: AsyncSession, organization_id: UUID, keys: Sequence[ForeignKey], *, creator: UUID, now: datetime
) -> list[str]:
    """Import all of the keys or none; returns their public ids in order.

    Raises `Refusal`: 409 for digests that are known already or stand there twice (`details.rows`, from 0),
    409 past the bound of keys, 422 for an expiry in the past. A digest is known whoever's it is: one text
    opens one account.
    """
    past = [row for row, key in enumerate(keys) if key.expires_at is not None and key.expires_at <= now]
    if past:
        raise Refusal(problems.EXPIRY_IN_THE_PAST, details={"rows": past})
    revision = await gateways.touch(session, organization_id)
    counted = Counter(key.digest for key in keys)
    _refuse_known([row for row, key in enumerate(keys) if counted[key.digest] > 1])
    active = await session.scalar(
        select(func.count())
        .select_from(ApiKey)
        .where(ApiKey.organization_id == organization_id, ApiKey.state == "active")
    )
    if (active or 0) + len(keys) > KEYS_PER_ORGANIZATION:
        raise Refusal(problems.TOO_MANY_KEYS, details={"maximum": KEYS_PER_ORGANIZATION})
    names = [public_id() for _ in keys]
    rows = [
        {
            "id": ids.uuid7(),
            "organization_id": organization_id,
            "public_id": name,
            "name": key.name,
            "environment": key.environment,
            "digest": key.digest,
            "hint": key.hint,
            "edge_revision": revision,
            "expires_at": key.expires_at,
            "extra": key.metadata,
            "created_by": creator,
            "created_at": now,
            "scopes": key.scopes,
            "cidrs": key.cidrs,
            "origin": "imported",
        }
        for name, key in zip(names, keys, strict=True)
    ]
    known: list[int] = []
    for number, row in enumerate(rows):
        # Each in a savepoint: the unique digest sees other tenants' keys, which this transaction cannot.
        try:
            async with session.begin_nested():
                await session.execute(insert(ApiKey).values(**row))
        except IntegrityError as error:
            if "uq_api_keys_digest" not in str(error.orig):
                raise
            known.append(number)
    _refuse_known(known)
    return names


def _refuse_known(rows: list[int]) -> None:
    if rows:
        raise Refusal(problems.KEY_ALREADY_KNOWN, details={"rows": rows})
