"""The Admin API's resources as the edge needs them: compiled, merged, and found in constant time.

A consumer or a credential is compiled alone, so one write costs the same among ten and among a hundred
thousand. Routes are few and compiled together, at the first request after a change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from farebox_gateway.edge.health import HealthRegistry
from farebox_gateway.edge.plugins.base import Place, Plugin, takes_part
from farebox_gateway.edge.router import Router
from farebox_gateway.edge.store import Change
from farebox_gateway.edge.upstream import Timeouts, Upstream

Step = tuple[Plugin, Any]
Placed = tuple[int, Step]
"""A step with its priority."""
Owned = Mapping[str, tuple[str, dict[str, Any]]]
"""Raw configurations by plugin, each with the resource that it stands in (`routes/r1`)."""
_MERGED_CHAINS: Final = 512


@dataclass(slots=True, eq=False)
class Credential:
    """One API key: its id, and its configuration by plugin."""

    id: str
    plugins: dict[str, Any]


@dataclass(slots=True, eq=False)
class Consumer:
    """One organization. `extra` holds raw configurations that have to be merged into the route's."""

    name: str
    group_id: str | None
    custom_id: str | None
    plugins: dict[str, Any]
    extra: dict[str, Any] | None
    reads: bool
    """Whether a plugin that reads the consumer by itself has a configuration here."""
    credentials: dict[str, Credential]
    memo: object = None
    """What `farebox-limit` has made of this consumer and its group."""


@dataclass(slots=True, eq=False)
class Group:
    """One plan version."""

    id: str
    plugins: dict[str, Any]
    extra: dict[str, Any] | None
    reads: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """Which plugins run in which phase, in order, with their configurations."""

    rewrite: tuple[Step, ...]
    access: tuple[Step, ...]
    header_filter: tuple[Step, ...]
    log: tuple[Step, ...]
    names: frozenset[str]


@dataclass(slots=True, eq=False)
class Route:
    """One route with everything merged into it."""

    id: str
    patterns: tuple[str, ...]
    hosts: tuple[str, ...]
    methods: frozenset[str] | None
    priority: int
    websocket: bool
    upstream: Upstream | None
    timeouts: Timeouts | None
    """The route's own, over the upstream's."""
    service_id: str | None
    chain: Chain
    chain_reading: Chain
    """The chain and the plugins that read the consumer by themselves, for consumers that bring them along."""
    confs: "Owned" = field(repr=False)


class EdgeConfig:
    """What the data plane looks at. `apply` is told of every durable change."""

    def __init__(self, plugins: Mapping[str, Plugin]) -> None:
        self._plugins = plugins
        self._readers = tuple(name for name, plugin in plugins.items() if plugin.reads_consumer)
        self.consumers: dict[str, Consumer] = {}
        self.groups: dict[str, Group] = {}
        self._raw: dict[str, dict[str, dict[str, Any]]] = {
            "routes": {},
            "services": {},
            "upstreams": {},
            "global_rules": {},
        }
        self._router: Router | None = None
        self._no_route = _chain((), ())
        self._merged: dict[tuple[Route, Group | None, Consumer | None], Chain] = {}
        self._upstreams: dict[tuple[str, str], tuple[dict[str, Any], Upstream]] = {}
        self.health = HealthRegistry()
        self.https_port: int | None = None
        """Where clients find this gateway's TLS; none while it has none."""

    def use(self, plugins: Mapping[str, Plugin]) -> None:
        """Take the plugins; they need this object to exist before them."""
        self._plugins = plugins
        self._readers = tuple(name for name, plugin in plugins.items() if plugin.reads_consumer)

    # -- the data plane asks

    def find_route(self, host: str, path: str, method: str) -> Route | None:
        """Return the route of a request."""
        if self._router is None:
            self._router = self._build()
        return self._router.find(host, path, method)

    def upstream(self, name: str) -> Upstream | None:
        """Return an upstream by its id."""
        value = self._raw["upstreams"].get(name)
        return None if value is None else self._made("upstreams", name, value)

    @property
    def no_route(self) -> Chain:
        """The global rules alone: what runs where no route matched."""
        return self._no_route

    def chain_for(self, route: Route, group: Group | None, consumer: Consumer | None) -> Chain:
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
                **_owned("", readers),
                **route.confs,
                **({} if group is None else _owned(f"consumer_groups/{group.id}", group.extra)),
                **_owned(f"consumers/{consumer.name}", consumer.extra),
            }
            if len(self._merged) >= _MERGED_CHAINS:
                self._merged.clear()
            chain = self._merged[key] = _chain(self._global_rules(), self._compiled(confs))
        return chain

    # -- the store tells

    def apply(self, changes: Sequence[Change]) -> None:
        """Bring the compiled view up to what was committed."""
        for change in changes:
            path, value = change.path, change.value
            if len(path) == 4:
                self._credential(path[1], path[3], value)
            elif path[0] == "consumers":
                self._consumer(path[1], value)
            elif path[0] == "consumer_groups":
                self._group(path[1], value)
            elif path[0] in self._raw:
                table = self._raw[path[0]]
                if value is None:
                    table.pop(path[1], None)
                else:
                    table[path[1]] = value
                self._router = None
                self._merged.clear()

    def _consumer(self, name: str, value: dict[str, Any] | None) -> None:
        before = self.consumers.get(name)
        if before is not None:
            self._forget(before)
        if value is None:
            self.consumers.pop(name, None)
            return
        compiled, extra = self._split("consumer", value.get("plugins") or {})
        self._tell("attach", name, None, compiled)
        labels = value.get("labels") or {}
        self.consumers[name] = Consumer(
            name=name,
            group_id=_text(value.get("group_id")),
            custom_id=labels.get("custom_id"),
            plugins=compiled,
            extra=extra,
            reads=self._reads(compiled),
            credentials={} if before is None else before.credentials,
        )

    def _credential(self, user: str, name: str, value: dict[str, Any] | None) -> None:
        consumer = self.consumers.get(user)
        if consumer is None:
            return
        before = consumer.credentials.pop(name, None)
        if before is not None:
            self._tell("detach", user, name, before.plugins)
        if value is None:
            return
        compiled, _ = self._split("credential", value.get("plugins") or {})
        self._tell("attach", user, name, compiled)
        consumer.credentials[name] = Credential(name, compiled)

    def _group(self, name: str, value: dict[str, Any] | None) -> None:
        self._merged.clear()
        if value is None:
            self.groups.pop(name, None)
            return
        compiled, extra = self._split("consumer_group", value["plugins"])
        self.groups[name] = Group(name, compiled, extra, self._reads(compiled))

    def _reads(self, compiled: Mapping[str, Any]) -> bool:
        return any(name in compiled for name in self._readers)

    def _forget(self, consumer: Consumer) -> None:
        """Drop what is kept of a consumer's old plugins."""
        if consumer.extra:
            self._merged.clear()
        self._tell("detach", consumer.name, None, consumer.plugins)

    def _tell(
        self, what: Literal["attach", "detach"], consumer: str, credential: str | None, confs: dict[str, Any]
    ) -> None:
        """Tell the plugins that keep an index of their own."""
        for name, conf in confs.items():
            plugin = self._plugins[name]
            if what == "attach":
                plugin.attach(consumer, credential, conf)
            else:
                plugin.detach(consumer, credential, conf)

    def _split(self, place: Place, confs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Part what a plugin reads by itself from what is merged into routes."""
        compiled, extra = {}, {}
        for name, conf in confs.items():
            plugin = self._plugins[name]
            if plugin.authenticates or plugin.reads_consumer:
                compiled[name] = plugin.compile(place, plugin.merge_defaults(place, conf))
            else:
                extra[name] = conf
        return compiled, extra or None

    def _build(self) -> Router:
        rules = self._global_rules()
        self._no_route = _chain(rules, ())
        self._merged.clear()
        routes = []
        for name, value in self._raw["routes"].items():
            if value.get("status", 1) == 1:
                routes.append(self._route(name, value, rules))
        self._forget_upstreams()
        return Router(routes)

    def _route(self, name: str, value: dict[str, Any], rules: Sequence[Step]) -> Route:
        service_id = _text(value.get("service_id"))
        service = self._raw["services"].get(service_id or "", {})
        confs = {
            **_owned(f"services/{service_id}", service.get("plugins")),
            **_owned(f"routes/{name}", value.get("plugins")),
        }
        readers: dict[str, Any] = {name: {} for name in self._readers}
        hosts = value.get("hosts") or ([value["host"]] if "host" in value else service.get("hosts", []))
        return Route(
            id=name,
            patterns=tuple(value.get("uris") or [value["uri"]]),
            hosts=tuple(hosts),
            methods=frozenset(value["methods"]) if value.get("methods") else None,
            priority=value.get("priority", 0),
            websocket=value.get("enable_websocket", service.get("enable_websocket", False)),
            upstream=self._upstream(name, value, service),
            timeouts=Timeouts.of(value["timeout"]) if "timeout" in value else None,
            service_id=service_id,
            chain=_chain(rules, self._compiled(confs)),
            chain_reading=_chain(rules, self._compiled({**_owned("", readers), **confs})),
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
        made = Upstream(value, f"/apisix/{kind}/{name}", self.health)
        self._upstreams[kind, name] = (value, made)
        return made

    def _forget_upstreams(self) -> None:
        """Let go of upstreams that are configured no more, and stop watching their nodes."""
        for kind, name in list(self._upstreams):
            owner = self._raw[kind].get(name, {})
            value = owner if kind == "upstreams" else owner.get("upstream")
            if value is not self._upstreams[kind, name][0]:
                del self._upstreams[kind, name]
        self.health.retain(made.watched for _, made in self._upstreams.values() if made.watched is not None)

    def _global_rules(self) -> list[Step]:
        placed: list[Placed] = []
        for name, value in self._raw["global_rules"].items():
            placed += self._compiled(_owned(f"global_rules/{name}", value["plugins"]))
        return _ordered(placed)

    def _compiled(self, confs: Owned) -> list[Placed]:
        """Return the steps that are not off, each with its priority: its own, or what `_meta` says."""
        placed = []
        for name, (owner, conf) in confs.items():
            plugin, meta = self._plugins[name], conf.get("_meta") or {}
            if not meta.get("disable"):
                step = (plugin, plugin.compile_of(owner, plugin.merge_defaults("route", conf)))
                placed.append((meta.get("priority", plugin.priority), step))
        return placed


def _owned(owner: str, confs: Mapping[str, Any] | None) -> dict[str, tuple[str, dict[str, Any]]]:
    return {name: (owner, conf) for name, conf in (confs or {}).items()}


def _ordered(placed: Sequence[Placed]) -> list[Step]:
    return [step for _, step in sorted(placed, key=lambda one: -one[0])]


def _chain(rules: Sequence[Step], own: Sequence[Placed]) -> Chain:
    steps = [*rules, *_ordered(own)]
    return Chain(
        rewrite=tuple(step for step in steps if takes_part(step[0], "rewrite")),
        access=tuple(step for step in steps if takes_part(step[0], "access")),
        header_filter=tuple(step for step in steps if takes_part(step[0], "header_filter")),
        log=tuple(step for step in steps if takes_part(step[0], "log")),
        names=frozenset(step[0].name for step in steps),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
