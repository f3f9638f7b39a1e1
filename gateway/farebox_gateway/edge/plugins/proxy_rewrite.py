"""`proxy-rewrite` of APISIX: another path, method, host or headers for the upstream.

Patterns are Python's regular expressions; `$1` in a replacement names a group. In `uri` and header values
variables (`$uri`, `$host`, `$arg_name`, `$http_name`…) stand for the request's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import quote

from farebox_gateway.edge import variables
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins import header_fields
from farebox_gateway.edge.plugins.base import META, Decision, Place, Plugin
from farebox_gateway.edge.plugins.patterns import template
from farebox_gateway.edge.schema import CheckedSchema, InvalidError

_VARIABLE: Final = re.compile(r"(?<!\\)\$(?:(\w+)|\{(\w+)\})")
_SAFE: Final = "/:@!$&'()*+,;=-._~%"
_METHODS: Final = (
    *("COPY", "DELETE", "GET", "HEAD", "LOCK", "MKCOL", "MOVE"),
    *("OPTIONS", "PATCH", "POST", "PROPFIND", "PUT", "TRACE", "UNLOCK"),
)
"""Those that nginx has a number for, and so APISIX can set."""


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A compiled configuration."""

    uri: str | None
    method: str | None
    patterns: tuple[tuple[re.Pattern[str], str], ...]
    host: str | None
    set_headers: tuple[tuple[str, str], ...]
    add_headers: tuple[tuple[str, str], ...]
    remove_headers: tuple[str, ...]


class ProxyRewrite(Plugin):
    """See the module."""

    name: ClassVar = "proxy-rewrite"
    priority: ClassVar = 1008
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "uri": {"type": "string", "minLength": 1, "maxLength": 4096, "pattern": r"^\/.*"},
                    "method": {"type": "string", "enum": list(_METHODS)},
                    "regex_uri": {"type": "array", "minItems": 2, "items": {"type": "string"}},
                    "host": {"type": "string", "pattern": r"^[0-9a-zA-Z-.]+(:\d{1,5})?$"},
                    "headers": {
                        "oneOf": [
                            {
                                "type": "object",
                                "minProperties": 1,
                                "additionalProperties": False,
                                "properties": {
                                    "add": header_fields.VALUES,
                                    "set": header_fields.VALUES,
                                    "remove": {
                                        "type": "array",
                                        "minItems": 1,
                                        "items": {"type": "string", "pattern": "^[^:]+$"},
                                    },
                                },
                            },
                            header_fields.VALUES,
                        ]
                    },
                    "use_real_request_uri_unsafe": {"type": "boolean", "default": False, "enum": [False]},
                    "_meta": META,
                },
                "minProperties": 1,
                "additionalProperties": False,
            }
        )
    }

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Refuse patterns that do not compile and headers that are none."""
        merged = super().check(place, conf)
        pairs = merged.get("regex_uri", ())
        if len(pairs) % 2:
            raise InvalidError("The length of regex_uri should be an even number")
        for pattern, replacement in zip(pairs[::2], pairs[1::2], strict=True):
            try:
                re.compile(pattern).sub(template(replacement), "/fake_uri")
            except (re.error, IndexError) as error:
                raise InvalidError(f"invalid regex_uri({pattern}, {replacement}): {error}") from None
        for name, value in _pairs(merged.get("headers", {})):
            header_fields.check_name(name)
            if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
                raise InvalidError("invalid value character in header")
        return merged

    def compile(self, place: Place, conf: dict[str, Any]) -> Rewriting:
        """Prepare patterns and headers."""
        del place
        pairs, headers = conf.get("regex_uri", ()), conf.get("headers", {})
        is_new = any(isinstance(headers.get(name), dict | list) for name in ("add", "set", "remove"))
        return Rewriting(
            uri=conf.get("uri"),
            method=conf.get("method"),
            patterns=tuple(
                (re.compile(pattern), template(replacement))
                for pattern, replacement in zip(pairs[::2], pairs[1::2], strict=True)
            ),
            host=conf.get("host"),
            set_headers=_texts(headers.get("set", {}) if is_new else headers),
            add_headers=_texts(headers.get("add", {}) if is_new else {}),
            remove_headers=tuple(headers.get("remove", ())) if is_new else (),
        )

    def rewrite(self, exchange: Passage, conf: Rewriting) -> Decision:
        """Change what the upstream will see."""
        if conf.method is not None:
            exchange.upstream_method = conf.method
        if conf.host is not None:
            exchange.upstream_host = conf.host
        _, mark, query = exchange.upstream_target.partition("?")
        match: re.Match[str] | None = None
        if conf.uri is not None:
            path, question, own = _resolve(conf.uri, exchange, None).partition("?")
            query = "&".join(part for part in (own if question else "", query if mark else "") if part)
            exchange.upstream_target = quote(path, safe=_SAFE) + ("?" + query if query else "")
        elif conf.patterns:
            for pattern, replacement in conf.patterns:
                match = pattern.search(exchange.path)
                if match is not None:
                    path, question, own = pattern.sub(replacement, exchange.path).partition("?")
                    query = "&".join(
                        part for part in (own if question else "", query if mark else "") if part
                    )
                    exchange.upstream_target = quote(path, safe=_SAFE) + ("?" + query if query else "")
                    break
        headers = exchange.headers
        for name, value in conf.add_headers:
            headers.add(name, _resolve(value, exchange, match))
        for name, value in conf.set_headers:
            headers[name] = _resolve(value, exchange, match)
        for name in conf.remove_headers:
            headers.popall(name, None)
        return None


def _resolve(text: str, exchange: Passage, match: re.Match[str] | None) -> str:
    if "$" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name.isdigit():
            known = match is not None and int(name) <= match.re.groups
            return (match[int(name)] or "") if match is not None and known else ""
        return variables.value(name, exchange) or ""

    return header_fields.clean(_VARIABLE.sub(value, text))


def _texts(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in values.items())


def _pairs(headers: Mapping[str, Any]) -> list[tuple[str, str]]:
    if any(isinstance(headers.get(name), dict | list) for name in ("add", "set", "remove")):
        return [*_texts(headers.get("add", {})), *_texts(headers.get("set", {}))]
    return list(_texts(headers))
