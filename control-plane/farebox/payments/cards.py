"""Saved cards as rows: kept when the provider tells of one, one of them the default. Never any card data."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.payments.model import PaymentMethod
from farebox.payments.provider import Card
from farebox.problems import Refusal


async def keep(
    session: AsyncSession, organization_id: UUID, provider: str, card: Card, *, now: datetime
) -> PaymentMethod:
    """Write the card down, or renew what is shown of it; the first becomes the default."""
    row = await session.scalar(
        select(PaymentMethod).where(
            PaymentMethod.organization_id == organization_id,
            PaymentMethod.provider == provider,
            PaymentMethod.provider_id == card.provider_id,
        )
    )
    if row is None:
        row = PaymentMethod(
            id=ids.uuid7(),
            organization_id=organization_id,
            provider=provider,
            provider_id=card.provider_id,
            is_default=await default(session, organization_id, provider=None) is None,
            created_at=now,
        )
        session.add(row)
    row.brand, row.last4 = card.brand[:40], card.last4[-4:]
    row.exp_month, row.exp_year = card.exp_month, card.exp_year
    row.postal_check = card.postal_check or row.postal_check
    await session.flush()
    return row


async def default(
    session: AsyncSession, organization_id: UUID, *, provider: str | None
) -> PaymentMethod | None:
    """Return the card to charge: the default, else the newest of that provider. None without one."""
    statement = select(PaymentMethod).where(
        PaymentMethod.organization_id == organization_id, PaymentMethod.removed_at.is_(None)
    )
    if provider is not None:
        statement = statement.where(PaymentMethod.provider == provider)
    order = (PaymentMethod.is_default.desc(), PaymentMethod.id.desc())
    return (await session.scalars(statement.order_by(*order).limit(1))).one_or_none()


async def listed(session: AsyncSession, organization_id: UUID) -> Sequence[PaymentMethod]:
    """Return the saved cards, the default first."""
    found = await session.scalars(
        select(PaymentMethod)
        .where(PaymentMethod.organization_id == organization_id, PaymentMethod.removed_at.is_(None))
        .order_by(PaymentMethod.is_default.desc(), PaymentMethod.id.desc())
    )
    return found.all()


async def get(session: AsyncSession, organization_id: UUID, method_id: UUID) -> PaymentMethod:
    """Return one saved card. Raises `Refusal` 404."""
    row = await session.scalar(
        select(PaymentMethod).where(
            PaymentMethod.id == method_id,
            PaymentMethod.organization_id == organization_id,
            PaymentMethod.removed_at.is_(None),
        )
    )
    if row is None:
        raise Refusal(problems.NOT_FOUND)
    return row


async def make_default(session: AsyncSession, organization_id: UUID, method_id: UUID) -> PaymentMethod:
    """Charge this card from now on. Raises `Refusal` 404."""
    row = await get(session, organization_id, method_id)
    await session.execute(
        update(PaymentMethod)
        .where(PaymentMethod.organization_id == organization_id, PaymentMethod.is_default)
        .values(is_default=False)
    )
    row.is_default = True
    await session.flush()
    return row


async def remove(
    session: AsyncSession, organization_id: UUID, method_id: UUID, *, now: datetime
) -> PaymentMethod:
    """Take a card out of use; the newest other one becomes the default. Raises `Refusal` 404."""
    row = await get(session, organization_id, method_id)
    was_default, row.is_default, row.removed_at = row.is_default, False, now
    await session.flush()
    if was_default:
        following = await default(session, organization_id, provider=None)
        if following is not None:
            following.is_default = True
            await session.flush()
    return row
