"""Writing who buys and who sells. What an invoice says of them was copied when it was drafted, and stays.

A member writes in his own organization's transaction, an operator within the organization that he entered.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.billing_details.fields import AddressInput, DetailsInput, IssuerInput, TermsInput
from farebox.billing_details.model import BillingProfile, Issuer
from farebox.organizations.model import Organization
from farebox.taxes.vat_numbers import EU, is_well_formed, normal
from farebox.web import invalid

_UNSET: Final[Mapping[str, Any]] = {"language": "en", "collection": "automatic", "tax_exempt": False}


async def profile(session: AsyncSession, organization_id: UUID) -> BillingProfile:
    """Return the details; before anybody gave some, the organization's name and the house's terms."""
    found = await session.scalar(
        select(BillingProfile)
        .where(BillingProfile.organization_id == organization_id)
        .execution_options(populate_existing=True)
    )
    if found is not None:
        return found
    name = await session.scalar(select(Organization.name).where(Organization.id == organization_id))
    return BillingProfile(organization_id=organization_id, legal_name=name or "", **_UNSET)


async def write(
    session: AsyncSession, organization_id: UUID, details: DetailsInput, *, now: datetime
) -> BillingProfile:
    """Replace name, address, tax number, e-mail and language. Raises `Refusal` 422 for a VAT number that is
    not of its country's form.
    """
    values = _address(details) | {"language": details.language, "updated_at": now}
    statement = insert(BillingProfile).values(organization_id=organization_id, created_at=now, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["organization_id"], set_=values))
    return await profile(session, organization_id)


async def agree(
    session: AsyncSession, organization_id: UUID, terms: TermsInput, *, now: datetime
) -> BillingProfile:
    """Set the terms that are given, and keep the others."""
    fresh = await profile(session, organization_id)
    await session.execute(
        insert(BillingProfile)
        .values(organization_id=organization_id, legal_name=fresh.legal_name, created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=["organization_id"])
    )
    await session.execute(
        update(BillingProfile)
        .where(BillingProfile.organization_id == organization_id)
        .values(**_given(terms), updated_at=now)
    )
    return await profile(session, organization_id)


async def issuers(session: AsyncSession) -> Sequence[Issuer]:
    """Return everybody who issues invoices, by code."""
    return (await session.scalars(select(Issuer).order_by(Issuer.code))).all()


async def write_issuer(session: AsyncSession, code: str, issuer: IssuerInput) -> Issuer:
    """Describe an issuer anew. Issued invoices keep what they say, and numbers go on counting.

    Raises `Refusal` 422 as `write` does.
    """
    values = _address(issuer) | {"number_prefix": issuer.number_prefix}
    statement = insert(Issuer).values(code=code, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["code"], set_=values))
    return (
        await session.scalars(
            select(Issuer).where(Issuer.code == code).execution_options(populate_existing=True)
        )
    ).one()


def _given(terms: TermsInput) -> dict[str, Any]:
    # `net_days` may be null by intent: the house's terms again. The others are null only when left out.
    return {
        name: getattr(terms, name)
        for name in terms.model_fields_set
        if name == "net_days" or getattr(terms, name) is not None
    }


def _address(given: AddressInput) -> dict[str, Any]:
    values = {name: getattr(given, name) for name in AddressInput.model_fields}
    if given.tax_id is not None and given.country in EU:
        if not is_well_formed(given.tax_id, country=given.country):
            raise invalid(
                "tax_id",
                f"is no VAT number of {given.country}; write it with its prefix, such as DE123456789",
            )
        values["tax_id"] = normal(given.tax_id)
    return values
