"""The catalogue as the translation wants it: the revision first, then the state, which may be newer."""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.products.offers import ProductSpec, RouteSpec
from farebox.products.service import read
from farebox.products.upstreams import UpstreamSpec
from farebox_worker.translate import CatalogueFacts, PlanFacts

_CATALOGUE_REVISION: Final = text("SELECT catalogue_revision FROM gateways WHERE id = :gateway")
_PLANS: Final = text(
    "SELECT code, limits, quota, without_counter FROM plan_versions WHERE state <> 'draft' ORDER BY code"
).columns(limits=JSONB(), quota=JSONB())
_UPSTREAMS: Final = text("SELECT code, definition FROM upstreams ORDER BY code").columns(definition=JSONB())
_PRODUCTS: Final = text("SELECT code, definition FROM products ORDER BY code").columns(definition=JSONB())
_ROUTES: Final = text("SELECT code, definition FROM routes ORDER BY code").columns(definition=JSONB())


async def catalogue(session: AsyncSession, gateway_id: UUID) -> CatalogueFacts:
    """Read plans, products, upstreams and routes: the revision first, then the state, which may be newer."""
    revision = await session.scalar(_CATALOGUE_REVISION, {"gateway": gateway_id})
    plans = await session.execute(_PLANS)
    routes = await session.execute(_ROUTES)
    products = await session.execute(_PRODUCTS)
    upstreams = await session.execute(_UPSTREAMS)
    return CatalogueFacts(
        int(revision or 0),
        tuple(PlanFacts(row.code, row.limits, row.quota, row.without_counter) for row in plans),
        tuple(read(UpstreamSpec, row.code, row.definition) for row in upstreams),
        tuple(read(ProductSpec, row.code, row.definition) for row in products),
        tuple(read(RouteSpec, row.code, row.definition) for row in routes),
    )
