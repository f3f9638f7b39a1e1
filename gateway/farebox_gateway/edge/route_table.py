"""Routes, services, upstreams and global rules, compiled together at the first request after a change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from farebox_gateway.edge.accounts import Consumer, Group
from farebox_gateway.edge.chains import Chain, Owned, Placed, Step, chain_of, compiled, ordered, owned
from farebox_gateway.edge.health import HealthRegistry
from farebox_gateway.edge.plugins.base import Plugin
from farebox_gateway.edge.route import Route
from farebox_gateway.edge.router import Router
from farebox_gateway.edge.upstream import Timeouts, Upstream

_MERGED_CHAINS: Final = 512


@dataclass(slots=True, eq=False)
class ServedRoute(Route):
    """A route with everything merged into it."""

    chain: Chain
    chain_reading: Chain
    """The chain and the plugins that read the consumer by themselves, for consumers that bring them along."""
    confs: Owned = field(repr=False)


class RouteTable:
    """See the module."""

    KINDS: Final = ("routes", "services", "upstreams", "global_rules")

    def __init__(self, health: HealthRegistry) -> None:
        self._health = health
        self._plugins: Mapping[str, Plugin] = {}
        self._readers: tuple[str, ...] = ()
        self._raw: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in self.KINDS}
        self._router: Router[ServedRoute] | None = None
        self.no_route = chain_of((), ())
        """The global rules alone: what runs where no route matched."""
        self._merged: dict[tuple[ServedRoute, Group | None, Consumer | None], Chain] = {}
        self._upstreams: dict[tuple[str, str], tuple[dict[str, Any], Upstream]] = {}

    def use(self, plugins: Mapping[str, Plugin], readers: tuple[str, ...]) -> None:
        """Take the plugins, and the names of those that read the consumer by themselves."""
        self._plugins, self._readers = plugins, readers

    def find(self, host: str, path: str, method: str) -> ServedRoute | None:
        """Return the route of a request."""
        if self._router is None:
            self._router = self._build()
        return self._router.find(host, path, method)

    def upstream(self, name: str) -> Upstream | None:
        """Return an upstream by its id."""
        value = self._raw["upstreams"].get(name)
        return None if value is None else self._made("upstreams", name, value)

    def chain_for(self, route: ServedRoute, group: Group | None, consumer: Consumer | None) -> Chain:
        """Return the route's chain with the group's and over it the consumer's plugins merged in, whole."""
        if consumer is None:
            return route.chain
        reads = consumer.reads or (group is not None and group.reads)
        if not consumer.extra and (group is None or not group.extra):
            return route.chain_reading if reads else route.chain
        key = (
            route,
            group if group is not None and group.extra else None,
            consumer if consumer.extra else None,
        )
        chain = self._merged.get(key)
        if chain is None:
            readers: dict[str, Any] = {name: {} for name in self._readers} if reads else {}
            confs = {
                **owned("", readers),
                **route.confs,
                **({} if group is None else owned(f"consumer_groups/{group.id}", group.extra)),
                **owned(f"consumers/{consumer.name}", consumer.extra),
            }
            if len(self._merged) >= _MERGED_CHAINS:
                self._merged.clear()
            chain = self._merged[key] = chain_of(self._global_rules(), compiled(self._plugins, confs))
        return chain

    def put(self, kind: str, name: str, value: dict[str, Any] | None) -> None:
        """Learn of a resource; none is one that is gone."""
        if value is None:
            self._raw[kind].pop(name, None)
        else:
            self._raw[kind][name] = value
        self._router = None
        self._merged.clear()

    def forget_merged(self) -> None:
        """Let go of chains with a group's or a consumer's plugins in them: these have changed."""
        self._merged.clear()

    def _build(self) -> Router[ServedRoute]:
        rules = self._global_rules()
        self.no_route = chain_of(rules, ())
        self._merged.clear()
        routes = []
        for name, value in self._raw["routes"].items():
            if value.get("status", 1) == 1:
                routes.append(self._route(name, value, rules))
        self._forget_upstreams()
        return Router(routes)

    def _route(self, name: str, value: dict[str, Any], rules: Sequence[Step]) -> ServedRoute:
        service_id = _text(value.get("service_id"))
        service = self._raw["services"].get(service_id or "", {})
        confs = {
            **owned(f"services/{service_id}", service.get("plugins")),
            **owned(f"routes/{name}", value.get("plugins")),
        }
        readers: dict[str, Any] = {name: {} for name in self._readers}
        hosts = value.get("hosts") or ([value["host"]] if "host" in value else service.get("hosts", []))
        return ServedRoute(
            id=name,
            patterns=tuple(value.get("uris") or [value["uri"]]),
            hosts=tuple(hosts),
            methods=frozenset(value["methods"]) if value.get("methods") else None,
            priority=value.get("priority", 0),
            websocket=value.get("enable_websocket", service.get("enable_websocket", False)),
            upstream=self._upstream(name, value, service),
            timeouts=Timeouts.of(value["timeout"]) if "timeout" in value else None,
            service_id=service_id,
            chain=chain_of(rules, compiled(self._plugins, confs)),
            chain_reading=chain_of(rules, compiled(self._plugins, {**owned("", readers), **confs})),
            confs=confs,
        )

    def _upstream(self, name: str, route: dict[str, Any], service: dict[str, Any]) -> Upstream | None:
        for kind, owner_id, owner in (
            ("routes", name, route),
            ("services", _text(route.get("service_id")) or "", service),
        ):
            inline, reference = owner.get("upstream"), _text(owner.get("upstream_id"))
            if inline:
                return self._made(kind, owner_id, inline)
            if reference is not None and (found := self.upstream(reference)) is not None:
                return found
        return None

    def _made(self, kind: str, name: str, value: dict[str, Any]) -> Upstream:
        """Return the one object for an upstream; it lives as long as its configuration is unchanged."""
        known = self._upstreams.get((kind, name))
        if known is not None and known[0] is value:
            return known[1]
        made = Upstream(value, f"/apisix/{kind}/{name}", self._health)
        self._upstreams[kind, name] = (value, made)
        return made

    def _forget_upstreams(self) -> None:
        """Let go of upstreams that are configured no more, and stop watching their nodes."""
        for kind, name in list(self._upstreams):
            owner = self._raw[kind].get(name, {})
            value = owner if kind == "upstreams" else owner.get("upstream")
            if value is not self._upstreams[kind, name][0]:
                del self._upstreams[kind, name]
        self._health.retain(made.watched for _, made in self._upstreams.values() if made.watched is not None)

    def _global_rules(self) -> list[Step]:
        placed: list[Placed] = []
        for name, value in self._raw["global_rules"].items():
            placed += compiled(self._plugins, owned(f"global_rules/{name}", value["plugins"]))
        return ordered(placed)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
