"""The Admin API's writes: ids, merging, times and ends, and what is committed.

Nothing here speaks HTTP; what is refused (`resource_checks`) carries what the client is to read.
"""

import asyncio
import copy
import time
from collections.abc import Mapping
from typing import Any, Final

from farebox_gateway.edge.kinds import Kind
from farebox_gateway.edge.plugins.base import Place, Plugin
from farebox_gateway.edge.resource_checks import Checks, NotFoundError, refused
from farebox_gateway.edge.store import Change, Path, Store

_FORBIDDEN: Final = ("create_time", "update_time")
Written = tuple[Path, dict[str, Any], bool]
"""Where the resource stands, what is answered, and whether it is new."""


class Resources:
    """Checks writes and commits them."""

    def __init__(self, store: Store, plugins: Mapping[str, Plugin]) -> None:
        self.store = store
        self.checks = Checks(store, plugins)
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
            raise refused(f"wrong {kind.words} id, do not need it")
        if "id" in body:
            raise refused(f"wrong {kind.words} id, do not need it")
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
            raise refused(f"missing {kind.words} id")
        before = self.store.value((*prefix, name))
        if before is None:
            raise NotFoundError("Key not found")
        for member in _FORBIDDEN:
            if member in body:
                raise refused(f"the property is forbidden:  {member}")
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
            raise refused(f"missing {kind.words} id")
        path = (*prefix, name)
        if self.store.get(path) is None:
            raise NotFoundError("Key not found")
        if not force:
            self.checks.check_unused(kind, path)
        changes = [Change(path, None)]
        if kind.plural == "consumers":
            members = self.store.table((*path, "credentials")) or {}
            changes = [Change((*path, "credentials", member), None) for member in members] + changes
        await self._commit(changes)
        return path

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
                raise refused("missing plugin name")
            if name not in self._plugins:
                raise refused("invalid plugin name")
            return name
        given = body.get(kind.id_field)
        if name is not None and given is not None and str(given) != name:
            wrong = "wrong username" if kind.plural == "consumers" else f"wrong {kind.words} id"
            raise refused(wrong)
        if name is None and given is None:
            if kind.plural == "consumers":
                raise refused('property "username" is required', invalid=True)
            raise refused(f"missing {kind.words} id")
        return str(name if name is not None else given)

    async def _write(self, kind: Kind, path: Path, body: dict[str, Any], *, ttl: int | None) -> Written:
        for member in _FORBIDDEN:
            if member in body:
                raise refused(f"the property is forbidden:  {member}")
        value = dict(body)
        if kind.plural not in {"consumers", "plugin_metadata"}:
            value.setdefault("id", path[-1])
        if kind.plural == "consumers":
            value.setdefault("username", path[-1])
        self.checks.check(kind, path, value)
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


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value
