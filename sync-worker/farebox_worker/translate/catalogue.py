"""What every gateway holds whoever its consumers are: plan versions, upstreams, routes, the canary. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from farebox_contract.keys import DEFAULT_PREFIX
from farebox_contract.plugins import AUTH, LIMIT, METER
from farebox_gateway import resources
from farebox_gateway.resources import Resource

CANARY_ROUTE: Final = "farebox-canary"
CANARY_PATH: Final = "/.well-known/farebox-canary/"


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """A plan version that somebody may be on; `limits` and `quota` in the form of the contract."""

    code: str
    limits: Sequence[Any]
    quota: Mapping[str, Any] | None
    without_counter: str


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """Where an API lives; `nodes` maps `host:port` to a weight."""

    code: str
    nodes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """A metered route."""

    code: str
    upstream: str
    uris: Sequence[str]
    methods: Sequence[str]
    hosts: Sequence[str]
    units: int
    upstream_units: bool


@dataclass(frozen=True, slots=True)
class CatalogueFacts:
    """Everything that every gateway holds whoever its consumers are."""

    revision: int
    plans: tuple[PlanFacts, ...] = ()
    upstreams: tuple[UpstreamFacts, ...] = ()
    routes: tuple[RouteFacts, ...] = ()


def plan(facts: PlanFacts, *, revision: int) -> Resource:
    """Return a plan version's consumer group."""
    conf: dict[str, Any] = {"limits": list(facts.limits), "without_counter": facts.without_counter}
    if facts.quota is not None:
        conf["quota"] = dict(facts.quota)
    return resources.consumer_group(facts.code, plugins={LIMIT: conf}, revision=revision)


def route(facts: RouteFacts, *, revision: int, key_prefix: str = DEFAULT_PREFIX) -> Resource:
    """Return a route with all three of our plugins."""
    meter: dict[str, Any] = {}
    if facts.units != 1:
        meter["units"] = facts.units
    if facts.upstream_units:
        meter["upstream_units"] = True
    return resources.route(
        facts.code,
        uris=facts.uris,
        methods=facts.methods,
        hosts=facts.hosts,
        plugins={AUTH: _auth_on_route(key_prefix), LIMIT: {}, METER: meter},
        upstream_id=facts.upstream,
        revision=revision,
    )


def canary(nonce: str, *, revision: int, key_prefix: str = DEFAULT_PREFIX) -> Resource:
    """Return the route that tells whether pushes are enforced: it has our authentication and no upstream.

    A gateway that has it and runs our plugin refuses a request without a key with `missing_api_key`; one
    that lags knows no such path, and one that lost the plugin has nowhere to send the request.
    """
    return resources.route(
        CANARY_ROUTE,
        uris=[CANARY_PATH + nonce],
        plugins={AUTH: _auth_on_route(key_prefix)},
        revision=revision,
    )


def catalogue(
    facts: CatalogueFacts, *, nonce: str, with_routes: bool, key_prefix: str = DEFAULT_PREFIX
) -> Iterable[Resource]:
    """Yield everything but consumers; without `with_routes` only what serves no request by itself."""
    revision = facts.revision
    for upstream in facts.upstreams:
        yield resources.upstream(upstream.code, nodes=upstream.nodes, revision=revision)
    if not with_routes:
        return
    for version in facts.plans:
        yield plan(version, revision=revision)
    for each in facts.routes:
        yield route(each, revision=revision, key_prefix=key_prefix)
    yield canary(nonce, revision=revision, key_prefix=key_prefix)


def _auth_on_route(key_prefix: str) -> dict[str, Any]:
    return {} if key_prefix == DEFAULT_PREFIX else {"key_prefix": key_prefix}


def marker_text(revision: int) -> str:
    """Return what the marker says once the catalogue of this revision has been applied."""
    return f"filled by farebox, catalogue {revision}"
