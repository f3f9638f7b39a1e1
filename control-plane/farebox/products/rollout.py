"""A staged roll-out: the share of a new version moved from stage to stage, and its end.

Each move is a change of the definition like any other, so the gateways learn of it the same way.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from farebox.products import service
from farebox.products.offers import RouteSpec
from farebox.products.policies import STAGES
from farebox.web import invalid


def next_stage(percentage: int) -> int:
    """Return the first stage above; the last one stays."""
    return next((stage for stage in STAGES if stage > percentage), STAGES[-1])


async def move(session: AsyncSession, code: str, *, to: int | None) -> str:
    """Set the share of a route's new version, or with None take it to the next stage; says what it is now."""
    await service.lock(session)
    route = (await service.show(session, RouteSpec, code)).spec
    if route.release is None:
        raise invalid("release", f"route {code!r} has no release; put one with its upstream first")
    share = next_stage(route.release.percentage) if to is None else to
    document = route.document()
    document["release"]["percentage"] = share
    await service.put(session, RouteSpec.model_validate(document))
    return f"{share} percent of route {code} go to {route.release.upstream}."


async def finish(session: AsyncSession, code: str) -> str:
    """Lead the route to the new version's upstream and drop the release."""
    await service.lock(session)
    route = (await service.show(session, RouteSpec, code)).spec
    if route.release is None:
        raise invalid("release", f"route {code!r} has no release to finish")
    document = {**route.document(), "upstream": route.release.upstream}
    del document["release"]
    await service.put(session, RouteSpec.model_validate(document))
    return f"Route {code} leads to {route.release.upstream}."
