"""What a change leaves behind for the gateways, and how far each has got with it.

A verb elsewhere bumps a revision and leaves a row in the outbox, here, in its own transaction; a worker does
the rest.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, Uuid, and_, bindparam, func, join, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import outbox
from farebox.gateways.model import Gateway, GatewayOrganization
from farebox.organizations.model import Organization
from farebox.outbox import Job

GATEWAY_PASS: Final = Job("gateway.pass")
"""Payload: `gateway`, `scope` (`all`, `keys`, `cleanup`), `overwrite_newer`; `report` once it is done."""

_BUMP: Final = (
    update(Organization.__table__)  # type: ignore[arg-type]
    .where(Organization.__table__.c.id == bindparam("organization"))
    .values(edge_revision=Organization.__table__.c.edge_revision + 1)
    .returning(Organization.__table__.c.edge_revision)
)


async def touch(session: AsyncSession, organization_id: UUID) -> int:
    """Bump the organization's revision and have it reconciled; returns the new revision."""
    revision = await session.scalar(_BUMP, {"organization": organization_id})
    await outbox.enqueue(session, outbox.GATEWAY_SYNC, organization=organization_id)
    return int(revision or 0)


async def touch_catalogue(session: AsyncSession) -> None:
    """Have routes and plan versions reconciled."""
    await session.execute(update(Gateway).values(catalogue_revision=Gateway.catalogue_revision + 1))
    await outbox.enqueue(session, outbox.GATEWAY_CATALOGUE)


def enforced_for(organization_id: ColumnElement[UUID]) -> ScalarSelect[int]:
    """Return the revision that every gateway has applied, as part of a larger statement."""
    gateway, applied = Gateway.__table__.c, GatewayOrganization.__table__.c
    return (
        select(func.coalesce(func.min(func.coalesce(applied.applied_revision, 0)), 0))
        .select_from(
            join(
                Gateway.__table__,
                GatewayOrganization.__table__,
                and_(applied.gateway_id == gateway.id, applied.organization_id == organization_id),
                isouter=True,
            )
        )
        .scalar_subquery()
    )


_ENFORCED: Final = select(enforced_for(bindparam("organization", type_=Uuid)))


async def enforced_revision(session: AsyncSession, organization_id: UUID) -> int:
    """Return the revision that every gateway has applied; 0 while one has applied none."""
    return int(await session.scalar(_ENFORCED, {"organization": organization_id}) or 0)


async def request_pass(
    session: AsyncSession, gateway: str, *, scope: str, overwrite_newer: bool = False
) -> int:
    """Ask the worker that holds the gateway's lock for a pass; returns the id of the outbox row."""
    row = outbox.OutboxRow(
        job=GATEWAY_PASS.name,
        organization_id=None,
        payload={"gateway": gateway, "scope": scope, "overwrite_newer": overwrite_newer},
    )
    session.add(row)
    await session.flush()
    return row.id
