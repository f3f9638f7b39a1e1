"""What the Admin API refuses of a write: schemas, plugins, references, duplicates, and what is still in use.

Every refusal has the status and the words of APISIX 3.18. It looks at what is stored and changes nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

from farebox_gateway.edge.kinds import Kind
from farebox_gateway.edge.plugins.base import Place, Plugin
from farebox_gateway.edge.schema import InvalidError
from farebox_gateway.edge.store import Path, Store
from farebox_gateway.edge.upstream_schema import check_upstream

_PLACES: Final[Mapping[str, Place]] = {
    "consumers": "consumer",
    "credentials": "credential",
    "consumer_groups": "consumer_group",
}
_REFERENCES: Final = (
    ("upstream_id", "upstreams", "upstream"),
    ("service_id", "services", "service"),
    ("group_id", "consumer_groups", "consumer group"),
)


class RefusedError(ValueError):
    """A write is not accepted; `body` is the answer."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


class NotFoundError(LookupError):
    """There is no such resource; the message is the answer's."""


class Checks:
    """See the module."""

    def __init__(self, store: Store, plugins: Mapping[str, Plugin]) -> None:
        self._store = store
        self._plugins = plugins

    def check_schema(self, kind: Kind, body: dict[str, Any]) -> None:
        """Check a resource by its schemas alone. Raises `RefusedError`."""
        try:
            kind.schema.check(body)
        except InvalidError as error:
            raise refused(str(error)) from None
        self._check_plugins(kind, body)

    def check(self, kind: Kind, path: Path, value: dict[str, Any]) -> None:
        """Check a resource that is to stand at a path. Raises `RefusedError`."""
        try:
            kind.schema.check(value)
        except InvalidError as error:
            raise refused(str(error), invalid=True) from None
        try:
            upstream = value if kind.plural == "upstreams" else value.get("upstream")
            if upstream:
                check_upstream(upstream)
        except InvalidError as error:
            raise refused(str(error)) from None
        if kind.plural == "credentials" and self._store.get(path[:2]) is None:
            raise RefusedError(404, {"error_msg": "consumer not found"})
        if "plugins" in value:
            self._check_plugins(kind, value)
        for member, plural, words in _REFERENCES:
            if member in value and self._store.get((plural, str(value[member]))) is None:
                raise refused(
                    f"failed to fetch {words} info by {words} id [{value[member]}], response code: 404"
                )
        self._check_duplicates(path, value)
        if kind.plural == "global_rules":
            self._check_global_rule(path, value)

    def _check_plugins(self, kind: Kind, value: dict[str, Any]) -> None:
        place: Place = _PLACES.get(kind.plural, "route")
        where = "invalid plugins configuration: " if place in {"consumer", "credential"} else ""
        for name, conf in value.get("plugins", {}).items():
            plugin = self._plugins.get(name)
            if plugin is None:
                raise refused(f"{where}unknown plugin [{name}]")
            if kind.plural == "credentials" and not plugin.authenticates:
                raise refused("only supports auth type plugins in consumer credential")
            if not isinstance(conf, dict):
                raise refused(f"invalid plugin conf {conf!r} for plugin [{name}]")
            try:
                plugin.check(place, conf)
            except InvalidError as error:
                wrong = f"failed to check the configuration of plugin {name} err: {error}"
                raise refused(where + wrong) from None

    def _check_duplicates(self, path: Path, value: dict[str, Any]) -> None:
        if path[0] != "consumers":
            return
        for name, conf in value.get("plugins", {}).items():
            clash = self._plugins[name].duplicate_of(path[1], path[3] if len(path) > 2 else None, conf)
            if clash is not None:
                raise refused(f"duplicate key of plugin {name} found with {clash}")

    def _check_global_rule(self, path: Path, value: dict[str, Any]) -> None:
        for other in self._store.table(("global_rules",)) or {}:
            found = self._store.value(("global_rules", other)) or {}
            for name in value["plugins"]:
                if other != path[-1] and name in found.get("plugins", {}):
                    raise refused(f"plugin '{name}' already exists in global rule with id '{other}'")

    def check_unused(self, kind: Kind, path: Path) -> None:
        """Refuse to take away what is named elsewhere, by a route or a plugin. Raises `RefusedError`."""
        user = self._store.user_of(path)
        if user is not None:
            noun = {"routes": "route", "services": "service", "consumers": "consumer"}[user[0]]
            what = kind.words + (" directly" if kind.plural == "services" else "")
            raise refused(f"can not delete this {what}, {noun} [{user[1]}] is still using it now")
        for plural in ("routes", "services", "consumers", "consumer_groups", "global_rules"):
            for name, entry in (self._store.table((plural,)) or {}).items():
                if path[0] != "upstreams" or b'"traffic-split"' not in entry.raw:
                    continue
                confs = (self._store.value((plural, name)) or {}).get("plugins", {})
                for plugin, conf in confs.items():
                    if path in set(self._plugins[plugin].uses(conf)):
                        noun = "global_rules" if plural == "global_rules" else plural.removesuffix("s")
                        where = f"plugin in {noun} [{name}]"
                        raise refused(f"can not delete this upstream, {where} is still using it now")


def refused(message: str, *, invalid: bool = False) -> RefusedError:
    """Return a refusal in APISIX's envelope."""
    return RefusedError(400, {"error_msg": f"invalid configuration: {message}" if invalid else message})
