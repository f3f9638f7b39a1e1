"""`proxy-cache` of APISIX with its memory strategy: answers kept and given again without the upstream.

What is private is never shared: with `consumer_isolation` each consumer has answers of its own, an answer
with `private`, `no-store`, `no-cache` or a cookie is not kept, and `Vary` is heeded. A HEAD is answered from
what a GET left, but leaves nothing itself. Source of the rules: APISIX 3.18 and RFC 9111.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Final

from farebox_gateway.edge import variables
from farebox_gateway.edge.answer import reason_of
from farebox_gateway.edge.exchange import Refusal
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins.base import META, Decision, Headers, Place, Plugin
from farebox_gateway.edge.plugins.cached_answers import CachedAnswer, CachedAnswers
from farebox_gateway.edge.plugins.pages import page
from farebox_gateway.edge.schema import CheckedSchema, InvalidError

_TEXT: Final = (b"Content-Type", b"text/plain; charset=utf-8")
_ZONE: Final = "memory_cache"
_VALUES: Final = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "string", "pattern": r"(^[^\$].+$|^\$[0-9a-zA-Z_]+$)"},
}
_NAMES_SOMEBODY: Final = frozenset(
    {"$consumer_name", "$consumer_group_id", "$remote_user", "$http_authorization"}
)
_CACHE_HEADERS: Final = frozenset({b"expires", b"cache-control"})
_STATUS: Final = "Apisix-Cache-Status"


@dataclass(slots=True, eq=False)
class Pending:
    """What a request that missed leaves for its answer."""

    key: str
    headers: Headers
    ttl: float


class Capture:
    """Keeps the answer's body while it goes by; only a whole one is stored, and none over the bound."""

    def __init__(self, answers: CachedAnswers, exchange: Passage, pending: Pending, bound: int) -> None:
        self._answers = answers
        self._exchange = exchange
        self._pending = pending
        self._bound = bound
        self._body: bytearray | None = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take note and pass on."""
        if self._body is not None:
            self._body += data
            if len(self._body) >= self._bound:
                self._body = None
        return data

    def finish(self) -> bytes:
        """Store."""
        if self._body is not None:
            pending, exchange = self._pending, self._exchange
            self._answers.put(
                pending.key,
                exchange.headers.get,
                CachedAnswer(
                    exchange.status, bytes(self._body), tuple(pending.headers), time.time(), pending.ttl
                ),
            )
        return b""


class ProxyCache(Plugin):
    """See the module."""

    name: ClassVar = "proxy-cache"
    priority: ClassVar = 1085
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "max_resp_body_size": {"type": "integer", "minimum": 1, "default": 67_108_864},
                    "cache_zone": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 100,
                        "default": "disk_cache_one",
                    },
                    "cache_strategy": {"type": "string", "enum": ["disk", "memory"], "default": "disk"},
                    "cache_key": {**_VALUES, "default": ["$host", "$request_uri"]},
                    "cache_http_status": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "integer", "minimum": 200, "maximum": 599},
                        "uniqueItems": True,
                        "default": [200, 301, 404],
                    },
                    "cache_method": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "enum": ["GET", "POST", "HEAD"]},
                        "uniqueItems": True,
                        "default": ["GET", "HEAD"],
                    },
                    "hide_cache_headers": {"type": "boolean", "default": False},
                    "cache_control": {"type": "boolean", "default": False},
                    "cache_bypass": _VALUES,
                    "no_cache": _VALUES,
                    "cache_ttl": {"type": "integer", "minimum": 1, "default": 300},
                    "consumer_isolation": {"type": "boolean", "default": True},
                    "cache_set_cookie": {"type": "boolean", "default": False},
                    "_meta": META,
                },
                "additionalProperties": False,
            }
        )
    }

    def __init__(self, max_bytes: int) -> None:
        self._answers = CachedAnswers(max_bytes)

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Refuse what APISIX refuses, and the disk, which this gateway does not use."""
        merged = super().check(place, conf)
        if "$request_method" in merged["cache_key"]:
            raise InvalidError("cache_key variable $request_method unsupported")
        zone, strategy = merged["cache_zone"], merged["cache_strategy"]
        if strategy == "disk":
            raise InvalidError("this gateway caches in memory only: set cache_strategy and cache_zone")
        if zone == "disk_cache_one":
            raise InvalidError(f"invalid or empty cache_zone for cache_strategy: {strategy}")
        if zone != _ZONE:
            raise InvalidError(f"cache_zone {zone} not found")
        return merged

    def access(self, exchange: Passage, conf: dict[str, Any]) -> Decision:
        """Answer from what is kept."""
        method, key = exchange.request.method, _key(exchange, conf)
        if method == "PURGE":
            return _purged(found=self._answers.purge(key))
        if method not in conf["cache_method"]:
            exchange.set_answer_header(_STATUS, "MISS")
            return None
        asked = directives(exchange.headers.getall("Cache-Control", ()))
        wants_fresh = conf["cache_control"] and ("no-store" in asked or "no-cache" in asked)
        if _set(exchange, conf.get("cache_bypass", ())) or wants_fresh:
            exchange.set_answer_header(_STATUS, "BYPASS")
            return None
        return self._answer(exchange, conf, key, asked)

    def _answer(
        self, exchange: Passage, conf: dict[str, Any], key: str, asked: dict[str, str | None]
    ) -> Decision:
        found, expired = self._answers.find(key, exchange.headers.get)
        if found is not None and not (conf["cache_control"] and _too_old(found, asked)):
            exchange.set_answer_header(_STATUS, "HIT")
            hidden = _CACHE_HEADERS if conf["hide_cache_headers"] else frozenset()
            age = (b"Age", b"%d" % (time.time() - found.stored))
            kept = [row for row in found.headers if row[0].lower() not in hidden]
            return Refusal(found.status, found.body, "served", (*kept, age))
        exchange.set_answer_header(_STATUS, "STALE" if found else "EXPIRED" if expired else "MISS")
        if found is None and not expired and conf["cache_control"] and "only-if-cached" in asked:
            return _bare(504)
        exchange.cache = Pending(key, [], 0)
        return None

    def header_filter(self, exchange: Passage, conf: dict[str, Any], headers: Headers) -> Headers:
        """Decide whether this answer is kept."""
        pending, exchange.cache = exchange.cache, None
        if not isinstance(pending, Pending):
            return headers
        if conf["hide_cache_headers"]:
            headers = [row for row in headers if row[0].lower() not in _CACHE_HEADERS]
        said = directives(
            value.decode("latin-1") for name, value in headers if name.lower() == b"cache-control"
        )
        pending.ttl = _lifetime(said, headers) if conf["cache_control"] else conf["cache_ttl"]
        if pending.ttl > 0 and _may_be_kept(exchange, conf, said, headers):
            pending.headers = [row for row in headers if row[0].lower() not in _NOT_KEPT]
            bound = conf["max_resp_body_size"]
            exchange.body_filters.append(Capture(self._answers, exchange, pending, bound))
        return headers


_NOT_KEPT: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"apisix-cache-status",
        b"x-ratelimit-remaining",
    }
)


def directives(values: Iterable[str]) -> dict[str, str | None]:
    """Return the directives of Cache-Control headers, with their arguments."""
    found: dict[str, str | None] = {}
    for value in values:
        for part in value.split(","):
            name, mark, argument = part.strip().partition("=")
            if name:
                found[name.lower()] = argument.strip('"') if mark else None
    return found


def _key(exchange: Passage, conf: dict[str, Any]) -> str:
    text = _value(exchange, conf["cache_key"])
    if conf["consumer_isolation"] and not _NAMES_SOMEBODY.intersection(conf["cache_key"]):
        name = variables.value("consumer_name", exchange)
        if name:
            return f"{name}\1{text}"
    return text


def _value(exchange: Passage, parts: Iterable[str]) -> str:
    return "".join(
        variables.value(part[1:], exchange) or "" if part.startswith("$") else part for part in parts
    )


def _set(exchange: Passage, parts: Iterable[str]) -> bool:
    return _value(exchange, parts) not in {"", "0"}


def _seconds(directive: str | None) -> float | None:
    return float(directive) if directive is not None and directive.isdigit() else None


def _too_old(found: CachedAnswer, asked: dict[str, str | None]) -> bool:
    age = time.time() - found.stored
    most, stale, fresh = (_seconds(asked.get(name)) for name in ("max-age", "max-stale", "min-fresh"))
    return (
        (most is not None and age > most)
        or (stale is not None and age - found.ttl > stale)
        or (fresh is not None and found.ttl - age < fresh)
    )


def _lifetime(said: dict[str, str | None], headers: Headers) -> float:
    seconds = _seconds(said.get("s-maxage"))
    if seconds is None:
        seconds = _seconds(said.get("max-age"))
    if seconds is not None:
        return seconds
    for name, value in headers:
        if name.lower() == b"expires":
            try:
                return max(0.0, parsedate_to_datetime(value.decode("latin-1")).timestamp() - time.time())
            except ValueError:
                return 0.0
    return 0.0


def _may_be_kept(
    exchange: Passage, conf: dict[str, Any], said: dict[str, str | None], headers: Headers
) -> bool:
    if exchange.request.method == "HEAD" or not exchange.upstream_answered:
        return False
    if exchange.status not in conf["cache_http_status"] or _set(exchange, conf.get("no_cache", ())):
        return False
    if {"private", "no-store", "no-cache"} & said.keys():
        return False
    names = {name.lower() for name, _ in headers}
    if not conf["cache_set_cookie"] and b"set-cookie" in names:
        return False
    return not any(name.lower() == b"vary" and b"*" in value for name, value in headers)


def _purged(*, found: bool) -> Refusal:
    return Refusal(200, b"", headers=(_TEXT,)) if found else _bare(404)


def _bare(status: int) -> Refusal:
    content, body = page(status, reason_of(status))
    return Refusal(status, body, headers=(content,))
