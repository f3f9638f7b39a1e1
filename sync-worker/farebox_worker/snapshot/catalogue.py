"""The catalogue as the translation wants it: the revision first, then the state, which may be newer."""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from farebox_worker.translate import CatalogueFacts, PlanFacts, RouteFacts, UpstreamFacts

_CATALOGUE_REVISION: Final = text("SELECT catalogue_revision FROM gateways WHERE id = :gateway")
_PLANS: Final = text(
    "SELECT code, limits, quota, without_counter FROM plan_versions WHERE state <> 'draft' ORDER BY code"
).columns(limits=JSONB(), quota=JSONB())
_UPSTREAMS: Final = text("SELECT code, nodes FROM upstreams ORDER BY code").columns(nodes=JSONB())
_ROUTES: Final = text(
    "SELECT code, upstream_code, uris, methods, hosts, units, upstream_units FROM routes ORDER BY code"
).columns(uris=JSONB(), methods=JSONB(), hosts=JSONB())


async def catalogue(session: AsyncSession, gateway_id: UUID) -> CatalogueFacts:
    """Read plans, upstreams and routes: the revision first, then the state, which may be newer."""
    revision = await session.scalar(_CATALOGUE_REVISION, {"gateway": gateway_id})
    plans = await session.execute(_PLANS)
    upstreams = await session.execute(_UPSTREAMS)
    routes = await session.execute(_ROUTES)
    return CatalogueFacts(
        int(revision or 0),
        tuple(PlanFacts(row.code, row.limits, row.quota, row.without_counter) for row in plans),
        tuple(UpstreamFacts(row.code, row.nodes) for row in upstreams),
        tuple(
            RouteFacts(
                row.code, row.upstream_code, row.uris, row.methods, row.hosts, row.units, row.upstream_units
            )
            for row in routes
        ),
    )
