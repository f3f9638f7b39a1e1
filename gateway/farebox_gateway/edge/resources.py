"""The rules of the Admin API's writes: ids, schemas, references, what is in use, defaults and times.

Every refusal has the status and the words of APISIX 3.18. Nothing here speaks HTTP; what is refused is an
error that carries what the client is to read.
"""

import asyncio
import copy
import time
from collections.abc import Mapping
from typing import Any, Final

from farebox_gateway.edge.kinds import Kind
from farebox_gateway.edge.plugins.base import Place, Plugin
from farebox_gateway.edge.schema import InvalidError
from farebox_gateway.edge.store import Change, Path, Store
from farebox_gateway.edge.upstream_schema import check_upstream

_FORBIDDEN: Final = ("create_time", "update_time")
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

Written = tuple[Path, dict[str, Any], bool]
"""Where the resource stands, what is answered, and whether it is new."""


class RefusedError(ValueError):
    """A write is not accepted; `body` is the answer."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


class NotFoundError(LookupError):
    """There is no such resource; the message is the answer's."""


class Resources:
    """Checks writes and commits them."""

    def __init__(self, store: Store, plugins: Mapping[str, Plugin]) -> None:
        self.store = store
        self._plugins = plugins
        self._expiries: dict[Path, asyncio.TimerHandle] = {}

    # -- writes

    async def put(
        self, kind: Kind, prefix: Path, name: str | None, body: dict[str, Any], *, ttl: int | None = None
    ) -> Written:
        """Create or replace a resource."""
        name = self._identify(kind, name, body)
        return await self._write(kind, (*prefix, name), body, ttl=ttl)

    async def post(
        self, kind: Kind, prefix: Path, name: str | None, body: dict[str, Any], *, ttl: int | None = None
    ) -> Written:
        """Create a resource under an id of our choosing."""
        if name is not None:
            raise _refused(f"wrong {kind.words} id, do not need it")
        if "id" in body:
            raise _refused(f"wrong {kind.words} id, do not need it")
        return await self._write(kind, (*prefix, f"{self.store.revision + 1:020d}"), body, ttl=ttl)

    async def patch(
        self,
        kind: Kind,
        prefix: Path,
        name: str | None,
        sub: list[str],
        body: dict[str, Any],
        *,
        ttl: int | None = None,
    ) -> Written:
        """Merge into a resource: objects by member, `null` removes, everything else replaces."""
        if name is None:
            raise _refused(f"missing {kind.words} id")
        before = self.store.value((*prefix, name))
        if before is None:
            raise NotFoundError("Key not found")
        for member in _FORBIDDEN:
            if member in body:
                raise _refused(f"the property is forbidden:  {member}")
        merged = copy.deepcopy(before)
        target = merged
        for step in sub[:-1]:
            target = target.setdefault(step, {})
        if sub:
            target[sub[-1]] = body
        else:
            _merge(merged, body)
        for member in _FORBIDDEN:
            merged.pop(member, None)
        return await self._write(kind, (*prefix, name), merged, ttl=ttl)

    async def delete(self, kind: Kind, prefix: Path, name: str | None, *, force: bool) -> Path:
        """Delete a resource, a consumer together with its credentials."""
        if name is None:
            raise _refused(f"missing {kind.words} id")
        path = (*prefix, name)
        if self.store.get(path) is None:
            raise NotFoundError("Key not found")
        user = None if force else self.store.user_of(path)
        if user is not None:
            noun = {"routes": "route", "services": "service", "consumers": "consumer"}[user[0]]
            what = kind.words + (" directly" if kind.plural == "services" else "")
            raise _refused(f"can not delete this {what}, {noun} [{user[1]}] is still using it now")
        if not force:
            self._check_plugins_use(path)
        changes = [Change(path, None)]
        if kind.plural == "consumers":
            members = self.store.table((*path, "credentials")) or {}
            changes = [Change((*path, "credentials", member), None) for member in members] + changes
        await self._commit(changes)
        return path

    def _check_plugins_use(self, path: Path) -> None:
        """Refuse to take away what a plugin's configuration names, such as an upstream of a canary."""
        for plural in ("routes", "services", "consumers", "consumer_groups", "global_rules"):
            for name, entry in (self.store.table((plural,)) or {}).items():
                if path[0] != "upstreams" or b'"traffic-split"' not in entry.raw:
                    continue
                confs = (self.store.value((plural, name)) or {}).get("plugins", {})
                for plugin, conf in confs.items():
                    if path in set(self._plugins[plugin].uses(conf)):
                        noun = "global_rules" if plural == "global_rules" else plural.removesuffix("s")
                        where = f"plugin in {noun} [{name}]"
                        raise _refused(f"can not delete this upstream, {where} is still using it now")

    def check_schema(self, kind: Kind, body: dict[str, Any]) -> None:
        """Check a resource by its schemas alone. Raises `RefusedError`."""
        try:
            kind.schema.check(body)
        except InvalidError as error:
            raise _refused(str(error)) from None
        self._check_plugins(kind, body)

    async def expire(self) -> None:
        """Take up the times of resources that end by themselves, after a start."""
        for path, at in list(self.store.expiring()):
            self._schedule(path, at)

    # -- plugins

    def plugin_names(self) -> list[str]:
        """Return the names of the plugins, the first to run first."""
        return sorted(self._plugins, key=lambda name: -self._plugins[name].priority)

    def plugin_attributes(self) -> dict[str, Any]:
        """Return what `GET /plugins?all=true` says."""
        return {
            name: {
                "priority": plugin.priority,
                "schema": dict(plugin.schemas["route"].source),
                **({"type": "auth"} if plugin.authenticates else {}),
                **(
                    {"consumer_schema": dict(plugin.schemas["consumer"].source)}
                    if "consumer" in plugin.schemas
                    else {}
                ),
            }
            for name, plugin in self._plugins.items()
        }

    def plugin_schema(self, name: str, schema_type: str | None) -> dict[str, Any] | None:
        """Return one plugin's schema."""
        plugin = self._plugins.get(name)
        if plugin is None:
            return None
        place: Place = "consumer" if schema_type == "consumer" else "route"
        schema = plugin.schemas.get(place)
        return {} if schema is None else dict(schema.source)

    # -- inside

    def _identify(self, kind: Kind, name: str | None, body: dict[str, Any]) -> str:
        if kind.plural == "plugin_metadata":
            if name is None:
                raise _refused("missing plugin name")
            if name not in self._plugins:
                raise _refused("invalid plugin name")
            return name
        given = body.get(kind.id_field)
        if name is not None and given is not None and str(given) != name:
            wrong = "wrong username" if kind.plural == "consumers" else f"wrong {kind.words} id"
            raise _refused(wrong)
        if name is None and given is None:
            if kind.plural == "consumers":
                raise _refused('property "username" is required', invalid=True)
            raise _refused(f"missing {kind.words} id")
        return str(name if name is not None else given)

    async def _write(self, kind: Kind, path: Path, body: dict[str, Any], *, ttl: int | None) -> Written:
        for member in _FORBIDDEN:
            if member in body:
                raise _refused(f"the property is forbidden:  {member}")
        value = dict(body)
        if kind.plural not in {"consumers", "plugin_metadata"}:
            value.setdefault("id", path[-1])
        if kind.plural == "consumers":
            value.setdefault("username", path[-1])
        self._check(kind, path, value)
        if kind.plural == "plugin_metadata":
            value.setdefault("id", path[-1])
        else:
            self._stamp(path, value)
        created = self.store.get(path) is None
        expires = None if ttl is None else int(time.time() * 1000) + ttl * 1000
        await self._commit([Change(path, value, expires)])
        if expires is not None:
            self._schedule(path, expires)
        return path, value, created

    def _check(self, kind: Kind, path: Path, value: dict[str, Any]) -> None:
        try:
            kind.schema.check(value)
        except InvalidError as error:
            raise _refused(str(error), invalid=True) from None
        try:
            upstream = value if kind.plural == "upstreams" else value.get("upstream")
            if upstream:
                check_upstream(upstream)
        except InvalidError as error:
            raise _refused(str(error)) from None
        if kind.plural == "credentials" and self.store.get(path[:2]) is None:
            raise RefusedError(404, {"error_msg": "consumer not found"})
        if "plugins" in value:
            self._check_plugins(kind, value)
        for member, plural, words in _REFERENCES:
            if member in value and self.store.get((plural, str(value[member]))) is None:
                raise _refused(
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
                raise _refused(f"{where}unknown plugin [{name}]")
            if kind.plural == "credentials" and not plugin.authenticates:
                raise _refused("only supports auth type plugins in consumer credential")
            if not isinstance(conf, dict):
                raise _refused(f"invalid plugin conf {conf!r} for plugin [{name}]")
            try:
                plugin.check(place, conf)
            except InvalidError as error:
                wrong = f"failed to check the configuration of plugin {name} err: {error}"
                raise _refused(where + wrong) from None

    def _check_duplicates(self, path: Path, value: dict[str, Any]) -> None:
        if path[0] != "consumers":
            return
        for name, conf in value.get("plugins", {}).items():
            clash = self._plugins[name].duplicate_of(path[1], path[3] if len(path) > 2 else None, conf)
            if clash is not None:
                raise _refused(f"duplicate key of plugin {name} found with {clash}")

    def _check_global_rule(self, path: Path, value: dict[str, Any]) -> None:
        for other in self.store.table(("global_rules",)) or {}:
            found = self.store.value(("global_rules", other)) or {}
            for name in value["plugins"]:
                if other != path[-1] and name in found.get("plugins", {}):
                    raise _refused(f"plugin '{name}' already exists in global rule with id '{other}'")

    def _stamp(self, path: Path, value: dict[str, Any]) -> None:
        now = int(time.time())
        before = self.store.value(path)
        value["create_time"] = now if before is None else before.get("create_time", now)
        value["update_time"] = now

    async def _commit(self, changes: list[Change]) -> None:
        for change in changes:
            timer = self._expiries.pop(change.path, None)
            if timer is not None:
                timer.cancel()
        await self.store.commit(changes)

    def _schedule(self, path: Path, at: int) -> None:
        loop = asyncio.get_running_loop()
        seconds = max(0.0, at / 1000 - time.time())

        def end() -> None:
            self._expiries.pop(path, None)
            if self.store.get(path) is not None:
                self._ending = loop.create_task(self.store.commit([Change(path, None)]))

        self._expiries[path] = loop.call_later(seconds, end)


def _refused(message: str, *, invalid: bool = False) -> RefusedError:
    return RefusedError(400, {"error_msg": f"invalid configuration: {message}" if invalid else message})


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value
