"""What a change leaves behind for the gateways: a higher revision and a row in the outbox."""

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import outbox
from farebox.gateways.model import Gateway, GatewayOrganization
from farebox.organizations.model import Organization


async def touch(session: AsyncSession, organization_id: UUID) -> int:
    """Bump the organization's revision and have it reconciled; returns the new revision."""
    revision = await session.scalar(
        update(Organization)
        .where(Organization.id == organization_id)
        .values(edge_revision=Organization.edge_revision + 1)
        .returning(Organization.edge_revision)
    )
    await outbox.enqueue(session, outbox.GATEWAY_SYNC, organization=organization_id)
    return int(revision or 0)


async def touch_catalogue(session: AsyncSession) -> None:
    """Have routes and plan versions reconciled."""
    await session.execute(update(Gateway).values(catalogue_revision=Gateway.catalogue_revision + 1))
    await outbox.enqueue(session, outbox.GATEWAY_CATALOGUE)


async def enforced_revision(session: AsyncSession, organization_id: UUID) -> int:
    """Return the revision that every gateway has applied."""
    revision = await session.scalar(
        select(func.min(GatewayOrganization.applied_revision)).where(
            GatewayOrganization.organization_id == organization_id
        )
    )
    return int(revision or 0)
