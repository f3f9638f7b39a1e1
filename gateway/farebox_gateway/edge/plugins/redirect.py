"""`redirect` of APISIX: another address for the client, or HTTPS for plain HTTP."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import quote

from farebox_gateway.edge import variables
from farebox_gateway.edge.answer import reason_of
from farebox_gateway.edge.exchange import Refusal
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins import header_fields
from farebox_gateway.edge.plugins.base import META, Decision, Place, Plugin
from farebox_gateway.edge.plugins.pages import page
from farebox_gateway.edge.plugins.patterns import template
from farebox_gateway.edge.schema import CheckedSchema, InvalidError

_SAFE: Final = "/:@!$&'()*+,;=-._~"
_STANDARD_PORT: Final = 443


@dataclass(frozen=True, slots=True)
class Redirecting:
    """A compiled configuration."""

    code: int
    uri: str | None
    pattern: re.Pattern[str] | None
    replacement: str
    to_https: bool
    encode: bool
    append_query: bool


class Redirect(Plugin):
    """See the module. `https_port` tells where this gateway speaks TLS; none is the standard port."""

    name: ClassVar = "redirect"
    priority: ClassVar = 900
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "ret_code": {"type": "integer", "minimum": 200, "default": 302},
                    "uri": {"type": "string", "minLength": 2},
                    "regex_uri": {
                        "type": "array",
                        "maxItems": 2,
                        "minItems": 2,
                        "items": {"type": "string"},
                    },
                    "http_to_https": {"type": "boolean"},
                    "encode_uri": {"type": "boolean", "default": False},
                    "append_query_string": {"type": "boolean", "default": False},
                    "_meta": META,
                },
                "additionalProperties": False,
                "oneOf": [
                    {"required": ["uri"]},
                    {"required": ["regex_uri"]},
                    {"required": ["http_to_https"]},
                ],
            }
        )
    }

    def __init__(self, https_port: Callable[[], int | None]) -> None:
        self._https_port = https_port

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Refuse a pattern that is none, and two wishes that exclude each other."""
        merged = super().check(place, conf)
        if "regex_uri" in merged:
            pattern, replacement = merged["regex_uri"]
            try:
                re.compile(pattern).sub(template(replacement), "/fake_uri")
            except (re.error, IndexError) as error:
                raise InvalidError(f"invalid regex_uri ({pattern}, {replacement}), err:{error}") from None
        if merged.get("http_to_https") and merged["append_query_string"]:
            raise InvalidError("only one of `http_to_https` and `append_query_string` can be configured.")
        return merged

    def compile(self, place: Place, conf: dict[str, Any]) -> Redirecting:
        """Prepare the pattern."""
        del place
        pattern, replacement = conf.get("regex_uri", (None, ""))
        return Redirecting(
            code=conf["ret_code"],
            uri=conf.get("uri"),
            pattern=None if pattern is None else re.compile(pattern),
            replacement=template(replacement),
            to_https=conf.get("http_to_https", False),
            encode=conf["encode_uri"],
            append_query=conf["append_query_string"],
        )

    def rewrite(self, exchange: Passage, conf: Redirecting) -> Decision:
        """Answer with the new address, if this request has one."""
        if conf.to_https:
            # What a proxy in front said is believed only of a trusted one: `remote` has seen to the header.
            if exchange.headers.get("X-Forwarded-Proto", "") == "https":
                return None
            return to_https(exchange, self._https_port())
        if conf.uri is not None:
            target, _ = variables.fill(conf.uri, exchange)
        elif conf.pattern is not None and conf.pattern.search(exchange.path):
            target = conf.pattern.sub(conf.replacement, exchange.path)
        else:
            return None
        path, mark, query = target.partition("?")
        if conf.encode:
            target = quote(path, safe=_SAFE) + mark + query
        own = variables.value("args", exchange)
        if conf.append_query and own:
            target += ("&" if mark else "?") + own
        return _sent(conf.code, target)


def to_https(exchange: Passage, port: int | None) -> Refusal:
    """Return the answer that sends a client of plain HTTP to HTTPS, with its method where it is not GET."""
    host = variables.value("host", exchange) or ""
    shown = "" if port in {None, _STANDARD_PORT} else f":{port}"
    code = 301 if exchange.request.method in {"GET", "HEAD"} else 308
    return _sent(code, f"https://{host}{shown}{exchange.target}")


def _sent(code: int, location: str) -> Refusal:
    clean = header_fields.clean(location).encode("utf-8", "surrogateescape")
    content, body = page(code, reason_of(code))
    return Refusal(code, body, "served", (content, (b"Location", clean)))
