"""What was sold, said in the gateway's words. Pure: frozen values in, resources out.

An organization is a consumer, its API keys are the consumer's credentials, a plan version is a consumer
group; routes and upstreams are themselves. Period edges are translated here to wall time, because a gateway
knows neither time zones nor test clocks. Nothing here reads a database or speaks to a gateway.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from farebox.clock import OrganizationTime
from farebox.subscriptions.periods import Period, period_after, period_containing
from farebox_contract.keys import DEFAULT_PREFIX
from farebox_contract.plugins import AUTH, LIMIT, METER
from farebox_gateway import resources
from farebox_gateway.resources import Resource

CANARY_ROUTE: Final = "farebox-canary"
CANARY_PATH: Final = "/.well-known/farebox-canary/"


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """An API key that is not revoked. `revision` is the organization's at the key's last change."""

    public_id: str
    environment: str
    digest: str
    expires_at: datetime | None
    revision: int


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """The running subscription and what its periods follow from; `group` is the plan version's code."""

    public_id: str
    group: str
    time_zone: str
    anchor_day: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class OrganizationFacts:
    """Everything about one organization that a gateway must know, as it stood at `revision` or later."""

    id: UUID
    public_id: str
    state: str
    revision: int
    time: OrganizationTime
    subscription: SubscriptionFacts | None
    keys: tuple[KeyFacts, ...]


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


@dataclass(frozen=True, slots=True)
class WallPeriod:
    """A billing period in Unix milliseconds of the wall, end excluded."""

    start: int
    end: int


def organization(facts: OrganizationFacts, *, now: datetime) -> list[Resource]:
    """Return the consumer and its credentials; nothing for a closed organization.

    `now` is the wall's time: it decides which periods are the current and the next, and which keys have
    expired. Revoked keys are not among the facts.
    """
    if facts.state == "closed":
        return []
    plugins: dict[str, Any] = {AUTH: {"state": facts.state}}
    group: str | None = None
    period: int | None = None
    if facts.subscription is not None:
        current, following = periods(facts.subscription, facts.time, now=now)
        group, period = facts.subscription.group, current.start
        plugins[LIMIT] = {
            "subscription": facts.subscription.public_id,
            "periods": [{"start": each.start, "end": each.end} for each in (current, following)],
        }
    consumer = resources.consumer(
        facts.public_id, plugins=plugins, revision=facts.revision, group=group, period=period
    )
    living = (key for key in facts.keys if key.expires_at is None or key.expires_at > now)
    return [consumer, *(_credential(facts.public_id, key) for key in living)]


def periods(
    subscription: SubscriptionFacts, time: OrganizationTime, *, now: datetime
) -> tuple[WallPeriod, WallPeriod]:
    """Return the current and the next billing period on the wall's clock.

    The first period begins where the subscription does. A subscription that begins a little after `now`, by
    another machine's clock, is in its first period already.
    """
    current = current_period(subscription, time, now=now)
    following = period_after(current, time_zone=subscription.time_zone, anchor_day=subscription.anchor_day)
    return _wall(current, time), _wall(following, time)


def current_period(subscription: SubscriptionFacts, time: OrganizationTime, *, now: datetime) -> Period:
    """Return the current billing period in the organization's own time."""
    here = max(time.at(now), subscription.started_at)
    full = period_containing(here, time_zone=subscription.time_zone, anchor_day=subscription.anchor_day)
    return Period(max(full.start, subscription.started_at), full.end)


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


def _credential(consumer: str, key: KeyFacts) -> Resource:
    conf: dict[str, Any] = {"digest": key.digest, "environment": key.environment}
    if key.expires_at is not None:
        conf["expires_at"] = milliseconds(key.expires_at)
    return resources.credential(consumer, key.public_id, plugins={AUTH: conf}, revision=key.revision)


def _auth_on_route(key_prefix: str) -> dict[str, Any]:
    return {} if key_prefix == DEFAULT_PREFIX else {"key_prefix": key_prefix}


def _wall(period: Period, time: OrganizationTime) -> WallPeriod:
    return WallPeriod(milliseconds(time.wall(period.start)), milliseconds(time.wall(period.end)))


def marker_text(revision: int) -> str:
    """Return what the marker says once the catalogue of this revision has been applied."""
    return f"filled by farebox, catalogue {revision}"


def milliseconds(instant: datetime) -> int:
    """Return Unix milliseconds, rounded down, without going through a float."""
    seconds = int(instant.replace(microsecond=0).timestamp())
    return seconds * 1000 + instant.microsecond // 1000
