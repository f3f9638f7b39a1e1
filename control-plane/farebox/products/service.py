"""What is sold through the gateways: put, shown, removed; and every change told to the gateways.

A definition arrives as a checked value; what it refers to is checked here, and held by the database. These
are the operator's: writing them needs the worker's role, or an operator's session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.gateways import service as gateways
from farebox.problems import Refusal
from farebox.products.model import Product, Route, Upstream
from farebox.products.offers import Policies, ProductSpec, RouteSpec, contradiction
from farebox.products.upstreams import UpstreamSpec
from farebox.web import invalid

AnySpec = UpstreamSpec | ProductSpec | RouteSpec
S = TypeVar("S", UpstreamSpec, ProductSpec, RouteSpec)
_TABLES: Final[dict[type[Any], type[Any]]] = {UpstreamSpec: Upstream, ProductSpec: Product, RouteSpec: Route}
NOUNS: Final[dict[type[Any], str]] = {UpstreamSpec: "upstream", ProductSpec: "product", RouteSpec: "route"}
_ONE_WRITER: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('farebox.products', 0))")


@dataclass(frozen=True, slots=True)
class Kept(Generic[S]):
    """A definition as it stands, and the declarative file that made it, if one did."""

    spec: S
    managed_by: str | None


async def put(session: AsyncSession, spec: AnySpec) -> bool:
    """Create or replace an upstream, product or route; returns whether anything differs now.

    What is the same already is left alone, and no gateway is told. Raises `Refusal` 422 naming the field
    where it refers to nothing, or where route and product contradict each other.
    """
    await lock(session)
    await _refuse_loose_ends(session, spec)
    changed = await keep(session, spec)
    if changed:
        await gateways.touch_catalogue(session)
    return changed


async def remove(session: AsyncSession, kind: type[AnySpec], code: str) -> None:
    """Remove one. Raises `Refusal` 404, or 409 (`still_in_use`) naming what leads there."""
    await lock(session)
    await erase(session, kind, code)
    await gateways.touch_catalogue(session)


async def lock(session: AsyncSession) -> None:
    """Let one transaction at a time change the catalogue, so that what it checked holds when it ends."""
    await session.execute(_ONE_WRITER)


async def keep(session: AsyncSession, spec: AnySpec, *, made_by: str | None = None) -> bool:
    """Create or replace one that has been checked, without telling the gateways.

    `made_by` is kept when it is created. Returns whether anything differs now.
    """
    found = await session.get(_TABLES[type(spec)], spec.code, with_for_update=True)
    columns: dict[str, Any] = {"definition": spec.document()}
    if isinstance(spec, Policies):
        columns["upstream_code"] = spec.upstream
        columns["release_upstream_code"] = spec.release.upstream if spec.release else None
    if isinstance(spec, RouteSpec):
        columns["product_code"] = spec.product
    if found is None:
        session.add(_TABLES[type(spec)](code=spec.code, managed_by=made_by, **columns))
    elif found.definition == columns["definition"]:
        return False
    else:
        for name, value in columns.items():
            setattr(found, name, value)
    await session.flush()
    return True


async def erase(session: AsyncSession, kind: type[AnySpec], code: str) -> None:
    """Remove one without telling the gateways. Raises as `remove`."""
    found = await session.get(_TABLES[kind], code, with_for_update=True)
    if found is None:
        raise Refusal(problems.NOT_FOUND, f"there is no {NOUNS[kind]} {code!r}")
    if users := await in_use_by(session, kind, code):
        raise Refusal(
            problems.STILL_IN_USE,
            f"{NOUNS[kind]} {code!r} is still used by {', '.join(users)}; lead them elsewhere first",
            details={"used_by": users},
        )
    await session.delete(found)
    await session.flush()


async def in_use_by(session: AsyncSession, kind: type[AnySpec], code: str) -> list[str]:
    """Name what refers to an upstream or a product, as `route messages`."""
    if kind is RouteSpec:
        return []
    if kind is ProductSpec:
        routes = await session.scalars(
            select(Route.code).where(Route.product_code == code).order_by(Route.code)
        )
        return [f"route {each}" for each in routes]
    users: list[str] = []
    for noun, table in (("product", Product), ("route", Route)):
        leads_there = or_(table.upstream_code == code, table.release_upstream_code == code)
        found = await session.scalars(select(table.code).where(leads_there).order_by(table.code))
        users += [f"{noun} {each}" for each in found]
    return users


async def show(session: AsyncSession, kind: type[S], code: str) -> Kept[S]:
    """Return one as it stands. Raises `Refusal` 404."""
    found = await session.get(_TABLES[kind], code)
    if found is None:
        raise Refusal(problems.NOT_FOUND, f"there is no {NOUNS[kind]} {code!r}")
    return Kept(read(kind, found.code, found.definition), found.managed_by)


async def everything(
    session: AsyncSession, kind: type[S], *, after: str = "", limit: int | None = None
) -> list[Kept[S]]:
    """Return all of a kind by code, or those after `after`, as many as `limit`."""
    table = _TABLES[kind]
    rows = await session.scalars(select(table).where(table.code > after).order_by(table.code).limit(limit))
    return [Kept(read(kind, row.code, row.definition), row.managed_by) for row in rows]


async def remove_route(session: AsyncSession, code: str) -> None:
    """Remove a route, and the upstream of the same code if nothing else leads there. Raises `Refusal` 404."""
    await remove(session, RouteSpec, code)
    made_with_it = await session.get(Upstream, code)
    if made_with_it is not None and not await in_use_by(session, UpstreamSpec, code):
        await erase(session, UpstreamSpec, code)


def read(kind: type[S], code: str, definition: dict[str, Any]) -> S:
    """Return a kept definition as a value."""
    return kind.model_validate({"code": code, **definition})


async def _refuse_loose_ends(session: AsyncSession, spec: AnySpec) -> None:
    if not isinstance(spec, Policies):
        return
    for name, upstream in (
        ("upstream", spec.upstream),
        ("release.upstream", spec.release.upstream if spec.release else None),
    ):
        if upstream is not None and await session.get(Upstream, upstream) is None:
            raise invalid(name, f"there is no upstream {upstream!r}; put it first")
    if isinstance(spec, RouteSpec):
        product = None
        if spec.product is not None:
            row = await session.get(Product, spec.product)
            if row is None:
                raise invalid("product", f"there is no product {spec.product!r}; put it first")
            product = read(ProductSpec, row.code, row.definition)
        _refuse_contradictions([spec], product)
    elif isinstance(spec, ProductSpec):
        rows = await session.scalars(select(Route).where(Route.product_code == spec.code))
        _refuse_contradictions([read(RouteSpec, row.code, row.definition) for row in rows], spec)


def _refuse_contradictions(routes: Sequence[RouteSpec], product: ProductSpec | None) -> None:
    for route in routes:
        if (found := contradiction(route, product)) is not None:
            raise invalid(found[0], f"route {route.code!r}: {found[1]}")
