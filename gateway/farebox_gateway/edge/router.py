"""Which route a request takes: host first, then the longest path, then priority, as APISIX's default router.

Routes of an exact host come before those of a wildcard host and these before routes without a host; an exact
path before a prefix (`/v1/*`), a longer prefix before a shorter one, and of equal paths the higher priority.
"""

import re
from collections.abc import Iterable
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from farebox_gateway.edge.route import Route

R = TypeVar("R", bound=Route)

_NEEDS_CARE = re.compile(r"%|//|/\.|[^\x21-\x7e]")


class _Paths(Generic[R]):
    """Routes of one host by path."""

    __slots__ = ("_exact", "_lengths", "_prefixes")

    def __init__(self) -> None:
        self._exact: dict[str, list[R]] = {}
        self._prefixes: dict[str, list[R]] = {}
        self._lengths: list[int] = []

    def add(self, pattern: str, route: R) -> None:
        table, key = (self._prefixes, pattern[:-1]) if pattern.endswith("*") else (self._exact, pattern)
        routes = table.setdefault(key, [])
        routes.append(route)
        routes.sort(key=lambda one: -one.priority)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)

    def find(self, path: str, method: str) -> R | None:
        for route in self._exact.get(path, ()):
            if route.methods is None or method in route.methods:
                return route
        for length in self._lengths:
            if length <= len(path):
                for route in self._prefixes.get(path[:length], ()):
                    if route.methods is None or method in route.methods:
                        return route
        return None


class Router(Generic[R]):
    """An immutable table; it is built anew when routes change."""

    def __init__(self, routes: Iterable[R]) -> None:
        self._any: _Paths[R] = _Paths()
        self._hosts: dict[str, _Paths[R]] = {}
        self._wildcards: dict[str, _Paths[R]] = {}
        for route in routes:
            for paths in self._tables(route.hosts):
                for pattern in route.patterns:
                    paths.add(pattern, route)
        self._suffixes = sorted(self._wildcards, key=len, reverse=True)

    def find(self, host: str, path: str, method: str) -> R | None:
        """Return the route for a host (lower case, without port), a normalized path and a method."""
        if self._hosts and (paths := self._hosts.get(host)) and (route := paths.find(path, method)):
            return route
        for suffix in self._suffixes:
            if host.endswith(suffix) and (route := self._wildcards[suffix].find(path, method)):
                return route
        return self._any.find(path, method)

    def _tables(self, hosts: tuple[str, ...]) -> Iterable[_Paths[R]]:
        if not hosts:
            yield self._any
        for host in hosts:
            if host.startswith("*"):
                yield self._wildcards.setdefault(host[1:].lower(), _Paths())
            else:
                yield self._hosts.setdefault(host.lower(), _Paths())


def normalize(path: str) -> str:
    """Return a path as nginx matches it: decoded, `//` merged, `.` and `..` resolved (never above `/`)."""
    if not _NEEDS_CARE.search(path):
        return path
    decoded = unquote_to_bytes(path.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    parts: list[str] = []
    pieces = decoded.split("/")
    for piece in pieces:
        if piece == "..":
            if parts:
                parts.pop()
        elif piece not in {"", "."}:
            parts.append(piece)
    tail = "/" if pieces[-1] in {"", ".", ".."} and parts else ""
    return "/" + "/".join(parts) + tail
