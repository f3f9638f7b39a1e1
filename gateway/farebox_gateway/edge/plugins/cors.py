"""`cors` of APISIX: which origins a browser may call from. Origins from plugin metadata are left out."""

import re
from typing import Any, ClassVar, Final

from farebox_gateway.edge.exchange import Refusal
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins.base import META, Decision, Place, Plugin
from farebox_gateway.edge.schema import CheckedSchema, InvalidError

_ORIGINS: Final = r"^(\*|\*\*|null|\w+://[^,]+(,\w+://[^,]+)*)$"
_ALL_METHODS: Final = "GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE"
_TEXT: Final = (b"Content-Type", b"text/plain; charset=utf-8")
_STARRED: Final = ("allow_origins", "allow_methods", "allow_headers", "expose_headers")


class Cors(Plugin):
    """See the module."""

    name: ClassVar = "cors"
    priority: ClassVar = 4000
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "allow_origins": {"type": "string", "pattern": _ORIGINS, "default": "*"},
                    "allow_methods": {"type": "string", "default": "*"},
                    "allow_headers": {"type": "string", "default": "*"},
                    "expose_headers": {"type": "string"},
                    "max_age": {"type": "integer", "default": 5},
                    "allow_credential": {"type": "boolean", "default": False},
                    "allow_origins_by_regex": {
                        "type": "array",
                        "items": {"type": "string", "minLength": 1, "maxLength": 4096},
                        "minItems": 1,
                        "uniqueItems": True,
                    },
                    "_meta": META,
                },
                "additionalProperties": False,
            }
        )
    }

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Refuse `*` together with credentials, which browsers refuse too, and broken patterns."""
        merged = super().check(place, conf)
        if merged["allow_credential"] and any(merged.get(name) == "*" for name in _STARRED):
            raise InvalidError("you can not set '*' for other option when 'allow_credential' is true")
        try:
            for pattern in merged.get("allow_origins_by_regex", ()):
                re.compile(pattern)
        except re.error as error:
            raise InvalidError(f"allow_origins_by_regex: {error}") from None
        return merged

    def rewrite(self, exchange: Passage, conf: dict[str, Any]) -> Decision:
        """Set the headers, whatever the answer will be, and answer a preflight at once."""
        origin = exchange.headers.get("Origin")
        if conf["allow_origins"] != "*":
            exchange.set_answer_header("Vary", "Origin")
        allowed = _allowed(conf, origin)
        if allowed is not None:
            self._allow(exchange, conf, allowed)
        return Refusal(200, b"", headers=(_TEXT,)) if exchange.request.method == "OPTIONS" else None

    @staticmethod
    def _allow(exchange: Passage, conf: dict[str, Any], allowed: str) -> None:
        methods, headers = conf["allow_methods"], conf["allow_headers"]
        if headers == "**":
            headers = exchange.headers.get("Access-Control-Request-Headers")
        exchange.set_answer_header("Access-Control-Allow-Origin", allowed)
        exchange.set_answer_header(
            "Access-Control-Allow-Methods", _ALL_METHODS if methods == "**" else methods
        )
        exchange.set_answer_header("Access-Control-Max-Age", str(conf["max_age"]))
        if conf.get("expose_headers"):
            exchange.set_answer_header("Access-Control-Expose-Headers", conf["expose_headers"])
        if headers:
            exchange.set_answer_header("Access-Control-Allow-Headers", headers)
        if conf["allow_credential"]:
            exchange.set_answer_header("Access-Control-Allow-Credentials", "true")


def _allowed(conf: dict[str, Any], origin: str | None) -> str | None:
    patterns = conf.get("allow_origins_by_regex")
    if patterns is not None:
        matches = origin is not None and any(re.search(pattern, origin) for pattern in patterns)
        return origin if matches else None
    allowed: str = conf["allow_origins"]
    if allowed == "**":
        return origin or "*"
    if "," in allowed:
        return origin if origin in allowed.split(",") else None
    return allowed if allowed in {"*", origin} else None
