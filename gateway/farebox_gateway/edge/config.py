"""The Admin API's resources as the edge needs them: compiled, merged, and found in constant time.

A consumer or a credential is compiled alone, so one write costs the same among ten and among a hundred
thousand. Routes are few and compiled together (`route_table`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from farebox_gateway.edge.accounts import Consumer, Credential, Group
from farebox_gateway.edge.health import HealthRegistry
from farebox_gateway.edge.plugins.base import Place, Plugin
from farebox_gateway.edge.route_table import RouteTable
from farebox_gateway.edge.store import Change


class EdgeConfig:
    """What the data plane looks at. `apply` is told of every durable change."""

    def __init__(self) -> None:
        self._plugins: Mapping[str, Plugin] = {}
        self._readers: tuple[str, ...] = ()
        self.consumers: dict[str, Consumer] = {}
        self.groups: dict[str, Group] = {}
        self.health = HealthRegistry()
        self.routes = RouteTable(self.health)
        self.https_port: int | None = None
        """Where clients find this gateway's TLS; none while it has none."""

    def use(self, plugins: Mapping[str, Plugin]) -> None:
        """Take the plugins; they need this object to exist before them."""
        self._plugins = plugins
        self._readers = tuple(name for name, plugin in plugins.items() if plugin.reads_consumer)
        self.routes.use(plugins, self._readers)

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
            elif path[0] in RouteTable.KINDS:
                self.routes.put(path[0], path[1], value)

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
            group_id=None if value.get("group_id") is None else str(value["group_id"]),
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
        self.routes.forget_merged()
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
            self.routes.forget_merged()
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
