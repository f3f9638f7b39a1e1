"""The routes that are sold and the upstreams they lead to: checked, kept, and the gateways told.

They are the operator's; writing them needs the worker's role, or an operator's session.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.gateways import service as gateways
from farebox.problems import Refusal
from farebox.products.model import Route, Upstream

METHODS: Final = (
    "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE",
)  # fmt: skip
RESERVED_PREFIX: Final = "farebox-"
MOST_UNITS: Final = 1_000_000
_CODE: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_URI: Final = re.compile(r"/[\x21-\x7e]{0,4095}")
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_NODE: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route with where it leads."""

    code: str
    upstream: str
    nodes: Mapping[str, int]
    uris: Sequence[str]
    methods: Sequence[str]
    hosts: Sequence[str]
    units: int
    upstream_units: bool


async def put_upstream(session: AsyncSession, code: str, *, nodes: Mapping[str, int]) -> None:
    """Create or replace an upstream; `nodes` maps `host:port` to a weight. Raises `Refusal` 422."""
    _check({"code": _code_problem(code), "nodes": _nodes_problem(nodes)})
    found = await session.get(Upstream, code, with_for_update=True)
    if found is None:
        session.add(Upstream(code=code, nodes=dict(nodes)))
    else:
        found.nodes = dict(nodes)
    await session.flush()
    await gateways.touch_catalogue(session)


async def put_route(
    session: AsyncSession,
    code: str,
    *,
    upstream: str,
    uris: Sequence[str],
    methods: Sequence[str] = (),
    hosts: Sequence[str] = (),
    units: int = 1,
    upstream_units: bool = False,
) -> None:
    """Create or replace a metered route to an upstream that exists. Raises `Refusal` 422, naming each field.

    `uris` begin with `/` and may end in `*`; without methods or hosts every one is served. `units` is what a
    request counts for; with `upstream_units` the upstream's X-Farebox-Units header decides.
    """
    _check(
        {
            "code": _code_problem(code),
            "uris": _uris_problem(uris),
            "methods": _each(methods, lambda one: one in METHODS, f"methods are {', '.join(METHODS)}"),
            "hosts": _each(hosts, _HOST.fullmatch, "use lower-case host names, at most with a leading `*.`"),
            "units": None if 0 <= units <= MOST_UNITS else f"must be 0 to {MOST_UNITS}",
        }
    )
    if await session.get(Upstream, upstream) is None:
        _check({"upstream": f"there is no upstream {upstream!r}; put it first"})
    members: dict[str, Any] = {
        "upstream_code": upstream,
        "uris": list(uris),
        "methods": list(dict.fromkeys(methods)),
        "hosts": list(dict.fromkeys(hosts)),
        "units": units,
        "upstream_units": upstream_units,
    }
    found = await session.get(Route, code, with_for_update=True)
    if found is None:
        session.add(Route(code=code, **members))
    else:
        for name, value in members.items():
            setattr(found, name, value)
    await session.flush()
    await gateways.touch_catalogue(session)


async def remove_route(session: AsyncSession, code: str) -> None:
    """Remove a route, and its upstream if no other route leads there. Raises `Refusal` 404."""
    found = await session.get(Route, code, with_for_update=True)
    if found is None:
        raise Refusal(problems.NOT_FOUND, f"there is no route {code!r}")
    upstream = found.upstream_code
    await session.delete(found)
    await session.flush()
    others = await session.scalar(
        select(func.count()).select_from(Route).where(Route.upstream_code == upstream)
    )
    if not others and (left := await session.get(Upstream, upstream)) is not None:
        await session.delete(left)
        await session.flush()
    await gateways.touch_catalogue(session)


async def list_routes(session: AsyncSession) -> list[RouteView]:
    """Return every route with its upstream's nodes, by code."""
    rows = await session.execute(
        select(Route, Upstream).join(Upstream, Upstream.code == Route.upstream_code).order_by(Route.code)
    )
    return [
        RouteView(
            route.code,
            upstream.code,
            upstream.nodes,
            route.uris,
            route.methods,
            route.hosts,
            route.units,
            route.upstream_units,
        )
        for route, upstream in rows
    ]


def _check(found: Mapping[str, str | None]) -> None:
    """Raise `Refusal` 422 for every field that has a problem."""
    fields = [{"field": name, "problem": problem} for name, problem in found.items() if problem]
    if fields:
        raise Refusal(problems.INVALID_REQUEST, "Some fields cannot be accepted.", details={"fields": fields})


def _code_problem(code: str) -> str | None:
    if not _CODE.fullmatch(code):
        return "use 1 to 64 of letters, digits, `_`, `.`, `-`"
    if code.startswith(RESERVED_PREFIX):
        return f"names that begin with {RESERVED_PREFIX} are Farebox's own; choose another"
    return None


def _uris_problem(uris: Sequence[str]) -> str | None:
    if not uris:
        return "name at least one path, such as /v1/*"
    if len(set(uris)) != len(uris):
        return "a path stands there twice"
    return _each(
        uris,
        lambda uri: _URI.fullmatch(uri) and "*" not in uri[:-1] and "?" not in uri and "#" not in uri,
        "each begins with `/`, may have `*` at its end alone, and has no spaces and no query",
    )


def _nodes_problem(nodes: Mapping[str, int]) -> str | None:
    if not nodes:
        return "name at least one node as host:port"
    for node, weight in nodes.items():
        match = _NODE.fullmatch(node)
        if match is None or not 1 <= int(match[2]) <= 65_535:
            return f"{node!r} is not host:port with a port from 1 to 65535"
        if not 0 <= weight <= 10_000:
            return f"the weight of {node!r} must be 0 to 10000"
    if not any(nodes.values()):
        return "at least one node needs a weight above 0"
    return None


def _each(values: Iterable[str], sound: Any, problem: str) -> str | None:
    wrong = next((value for value in values if not sound(value)), None)
    return None if wrong is None else f"{wrong!r}: {problem}"
