"""Taking add-ons along when one subscription follows another. Every instant has one quantity of each."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_CARRY: Final = text(
    """
    INSERT INTO subscription_add_ons
        (id, organization_id, subscription_id, add_on_version_id, quantity, from_at)
    SELECT uuidv7(), a.organization_id, :new, a.add_on_version_id, a.quantity, :at
    FROM subscription_add_ons a JOIN add_on_versions v ON v.id = a.add_on_version_id
    WHERE a.subscription_id = :old AND a.to_at IS NULL AND v.currency = CAST(:currency AS text)
    """
)
_END: Final = text(
    "UPDATE subscription_add_ons SET to_at = greatest(:at, from_at) "
    "WHERE subscription_id = :old AND to_at IS NULL"
)


async def carry(session: AsyncSession, old: UUID, new: UUID, *, currency: str | None, at: datetime) -> None:
    """End the old subscription's add-ons `at` an instant and begin those in `currency` on the new one there.

    None carries nothing: what follows a cancellation begins without add-ons.
    """
    await session.execute(_CARRY, {"old": old, "new": new, "at": at, "currency": currency})
    await session.execute(_END, {"old": old, "at": at})
