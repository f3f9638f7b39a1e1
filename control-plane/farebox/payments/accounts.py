"""Who pays: what a provider is told of an organization, and the customer it is there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.clock import Clock
from farebox.db import Database
from farebox.payments.model import ProviderCustomer
from farebox.payments.provider import Account, Provider
from farebox.payments.providers import Providers
from farebox.problems import Refusal

_FACTS: Final = text(
    """
    SELECT o.public_id, o.name,
           COALESCE(b.email, (SELECT u.email FROM memberships m JOIN users u ON u.id = m.user_id
                              WHERE m.organization_id = o.id ORDER BY (m.role = 'owner') DESC, m.created_at
                              LIMIT 1)) AS email,
           (SELECT v.currency FROM subscriptions s JOIN plan_versions v ON v.id = s.plan_version_id
            WHERE s.organization_id = o.id ORDER BY (s.state = 'ended'), s.started_at DESC LIMIT 1
           ) AS currency
    FROM organizations o LEFT JOIN billing_profiles b ON b.organization_id = o.id
    WHERE o.id = :organization
    """
)


@dataclass(frozen=True, slots=True)
class Payer:
    """An organization that pays. `currency` is that of its plan; `email` gets the provider's mails."""

    organization_id: UUID
    public_id: str
    name: str
    email: str
    currency: str

    @property
    def account(self) -> Account:
        """What a provider is told."""
        return Account(f"org_{self.public_id}", self.name, self.email)


@dataclass(frozen=True, slots=True)
class Till:
    """What the verbs work with: they open transactions of their own, and talk to providers between them."""

    database: Database
    providers: Providers
    clock: Clock
    public_url: str

    def now(self) -> datetime:
        """Return the present instant."""
        return self.clock.now()


async def payer(session: AsyncSession, organization_id: UUID) -> Payer:
    """Return the organization as a payer. Raises `Refusal` 404."""
    row = (await session.execute(_FACTS, {"organization": organization_id})).one_or_none()
    if row is None:
        raise Refusal(problems.NOT_FOUND)
    email = row.email or f"billing+{row.public_id}@farebox.invalid"
    return Payer(organization_id, row.public_id, row.name, email, row.currency or "USD")


async def known(session: AsyncSession, organization_id: UUID, provider: str) -> ProviderCustomer | None:
    """Return the organization's customer at the provider."""
    found: ProviderCustomer | None = await session.scalar(
        select(ProviderCustomer).where(
            ProviderCustomer.organization_id == organization_id, ProviderCustomer.provider == provider
        )
    )
    return found


async def make_known(till: Till, provider: Provider, organization_id: UUID) -> ProviderCustomer:
    """Return the customer, made at the provider if there is none yet."""
    async with till.database.transaction(organization=organization_id) as session:
        found = await known(session, organization_id, provider.name)
        who = await payer(session, organization_id)
    if found is not None:
        return found
    customer = await provider.customer(who.account)
    async with till.database.transaction(organization=organization_id) as session:
        await session.execute(
            insert(ProviderCustomer)
            .values(
                organization_id=organization_id,
                provider=provider.name,
                provider_id=customer,
                email=who.email,
                created_at=till.now(),
            )
            .on_conflict_do_nothing(index_elements=["organization_id", "provider"])
        )
        made = await known(session, organization_id, provider.name)
    if made is None:
        raise RuntimeError("the customer was written and is not there")
    return made
