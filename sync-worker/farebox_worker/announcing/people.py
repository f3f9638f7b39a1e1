"""Who is told, and in which language: of money the billing address, of keys the owners and their makers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import outbox

_ORGANIZATION: Final = text(
    """
    SELECT o.name, b.email, COALESCE(b.language, 'en') AS language,
           (SELECT array_agg(u.email ORDER BY m.created_at, u.id)
            FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.organization_id = o.id AND m.role = 'owner') AS owners
    FROM organizations o LEFT JOIN billing_profiles b ON b.organization_id = o.id
    WHERE o.id = :organization
    """
)


@dataclass(frozen=True, slots=True)
class Audience:
    """An organization's name, who hears of its money, its owners, and the language they read."""

    organization: str
    billing: tuple[str, ...]
    owners: tuple[str, ...]
    language: str


async def audience(session: AsyncSession, organization_id: UUID) -> Audience:
    """Read who is told. Without a billing address the owners hear of money too."""
    row = (await session.execute(_ORGANIZATION, {"organization": organization_id})).one()
    owners = tuple(row.owners or ())
    return Audience(row.name, (row.email,) if row.email else owners, owners, row.language)


async def write_to(
    session: AsyncSession,
    organization_id: UUID,
    addresses: Iterable[str],
    letter: str,
    context: dict[str, Any],
    *,
    language: str,
) -> None:
    """Have the letter sent to each address once. `context` is plain JSON without secrets."""
    for address in dict.fromkeys(addresses):
        await outbox.enqueue(
            session,
            outbox.SEND_MAIL,
            organization=organization_id,
            payload={"template": letter, "to": address, "context": context, "language": language},
        )
