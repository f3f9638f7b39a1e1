"""Reading who buys and who sells, many at once, for the billing run."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.billing_details.model import BillingProfile, Issuer
from farebox.billing_details.parties import Buyer, Seller

_ADDRESS = ("legal_name", "line1", "line2", "city", "region", "postal_code", "country", "tax_id", "email")
_TERMS = ("net_days", "collection", "language", "tax_exempt")


async def buyers(session: AsyncSession, organizations: Sequence[UUID]) -> Mapping[UUID, Buyer]:
    """Return the buyer of each organization that has a billing profile."""
    rows = await session.scalars(
        select(BillingProfile).where(BillingProfile.organization_id.in_(list(organizations)))
    )
    return {
        row.organization_id: Buyer(**{name: getattr(row, name) for name in (*_ADDRESS, *_TERMS)})
        for row in rows
    }


async def seller(session: AsyncSession, code: str) -> Seller:
    """Return the issuer; one that nobody has described is known by its code alone."""
    row = await session.get(Issuer, code)
    if row is None:
        return Seller(code=code, legal_name=code)
    return Seller(code=code, **{name: getattr(row, name) for name in _ADDRESS})
