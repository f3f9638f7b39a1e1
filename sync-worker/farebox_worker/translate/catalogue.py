"""What every gateway holds whoever its consumers are: plans, products, routes and the canary. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from farebox.products.offers import ProductSpec, RouteSpec, Terms, effective
from farebox.products.policies import Cache, Compression, Cors, PlainHttp
from farebox.products.upstreams import UpstreamSpec
from farebox_contract.billable import DEFAULT_RULE
from farebox_contract.keys import DEFAULT_PREFIX
from farebox_contract.plugins import AUTH, LIMIT, METER
from farebox_gateway import resources
from farebox_gateway.resources import Resource
from farebox_worker.translate import catalogue_traffic as traffic
from farebox_worker.translate.catalogue_upstreams import upstream

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
class CatalogueFacts:
    """Everything that every gateway holds whoever its consumers are."""

    revision: int
    plans: tuple[PlanFacts, ...] = ()
    upstreams: tuple[UpstreamSpec, ...] = ()
    products: tuple[ProductSpec, ...] = ()
    routes: tuple[RouteSpec, ...] = ()


def plan(facts: PlanFacts, *, revision: int) -> Resource:
    """Return a plan version's consumer group."""
    conf: dict[str, Any] = {"limits": list(facts.limits), "without_counter": facts.without_counter}
    if facts.quota is not None:
        conf["quota"] = dict(facts.quota)
    return resources.consumer_group(facts.code, plugins={LIMIT: conf}, revision=revision)


def product(spec: ProductSpec, *, revision: int) -> Resource:
    """Return a product's service: its upstream, and the policies that its routes share."""
    return resources.service(
        spec.code,
        name=spec.name,
        upstream_id=spec.upstream,
        plugins=_shared(spec.cors, spec.compression, spec.plain_http, spec.cache),
        revision=revision,
    )


def route(
    spec: RouteSpec, offer: ProductSpec | None = None, *, revision: int, key_prefix: str = DEFAULT_PREFIX
) -> Resource:
    """Return a route with all three of our plugins, and its own policies; those of `offer` are its service's.

    Hosts and a release are said on the route: which router and which upstream they meet depends on it.
    """
    terms = effective(spec, offer)
    methods = list(spec.methods)
    if terms.cors is not None and methods and "OPTIONS" not in methods:
        methods.append("OPTIONS")
    plugins: dict[str, Any] = {
        AUTH: _auth(terms, key_prefix),
        LIMIT: {},
        METER: _meter(spec),
        **_shared(spec.cors, spec.compression, spec.plain_http, spec.cache),
    }
    if offer is not None and spec.compression is not None and offer.compression is not None:
        # APISIX merges plugin by plugin: what the product compresses with besides must be switched off here.
        for name in traffic.compression(offer.compression).keys() - plugins.keys():
            plugins[name] = {"_meta": {"disable": True}}
    if offer is not None and spec.plain_http is not None:
        for name, conf in traffic.plain_http(offer.plain_http or "allow").items():
            plugins.setdefault(name, {**conf, "_meta": {"disable": True}})
    if terms.release is not None:
        plugins.update(traffic.release(terms.release))
    if spec.rewrite is not None:
        plugins.update(traffic.rewrite(spec.rewrite))
    return resources.route(
        spec.code,
        uris=spec.paths,
        methods=methods,
        hosts=terms.hosts,
        plugins=plugins,
        upstream_id=spec.upstream,
        service_id=spec.product,
        priority=spec.priority,
        enabled=spec.enabled,
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
    for spec in facts.upstreams:
        yield upstream(spec, revision=revision)
    if not with_routes:
        return
    for version in facts.plans:
        yield plan(version, revision=revision)
    offers = {each.code: each for each in facts.products}
    for offer in facts.products:
        yield product(offer, revision=revision)
    for each in facts.routes:
        of = offers[each.product] if each.product is not None else None
        yield route(each, of, revision=revision, key_prefix=key_prefix)
    yield canary(nonce, revision=revision, key_prefix=key_prefix)


def _shared(
    cors: Cors | None, compression: Compression | None, plain_http: PlainHttp | None, cache: Cache | None
) -> traffic.Plugins:
    return {
        **(traffic.cors(cors) if cors else {}),
        **(traffic.compression(compression) if compression else {}),
        **traffic.plain_http(plain_http or "allow"),
        **(traffic.cache(cache) if cache else {}),
    }


def _auth(terms: Terms, key_prefix: str) -> dict[str, Any]:
    conf = _auth_on_route(key_prefix)
    if terms.query_parameter is not None:
        conf["query_parameter"] = terms.query_parameter
    if terms.tiers is not None:
        conf["tiers"] = terms.tiers.document()
    return conf


def _meter(spec: RouteSpec) -> dict[str, Any]:
    conf: dict[str, Any] = {}
    if spec.units != 1:
        conf["units"] = spec.units
    if spec.upstream_units:
        conf["upstream_units"] = True
    if spec.billable_rule != DEFAULT_RULE:
        conf["rule"] = spec.billable_rule
    return conf


def _auth_on_route(key_prefix: str) -> dict[str, Any]:
    return {} if key_prefix == DEFAULT_PREFIX else {"key_prefix": key_prefix}


def marker_text(revision: int) -> str:
    """Return what the marker says once the catalogue of this revision has been applied."""
    return f"filled by farebox, catalogue {revision}"
