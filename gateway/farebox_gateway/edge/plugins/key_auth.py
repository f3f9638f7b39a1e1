"""`key-auth` of APISIX, for comparing and for moving over: a key anywhere in the text of a header or query.

Unlike `farebox-auth` it holds the key itself, in the state folder too. New keys belong to `farebox-auth`.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec

from farebox_gateway.edge.exchange import Exchange, Refusal
from farebox_gateway.edge.plugins.base import Decision, Plugin, take_from_query
from farebox_gateway.edge.schema import CheckedSchema

_TEXT: Final = (b"Content-Type", b"text/plain; charset=utf-8")


class KeyAuth(Plugin):
    """See the module. The index from keys to credentials is kept by `attach` and `detach`."""

    name: ClassVar = "key-auth"
    priority: ClassVar = 2500
    authenticates: ClassVar = True
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "header": {"type": "string", "default": "apikey"},
                    "query": {"type": "string", "default": "apikey"},
                    "realm": {
                        "type": "string",
                        "pattern": '^[^"\\\\\\r\\n]+$',
                        "minLength": 1,
                        "maxLength": 128,
                        "default": "key",
                    },
                    "hide_credentials": {"type": "boolean", "default": False},
                    "anonymous_consumer": {"type": "string", "minLength": 1},
                },
            }
        ),
        "consumer": CheckedSchema(
            {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
        ),
        "credential": CheckedSchema(
            {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
        ),
    }

    def __init__(self, find_consumer: Callable[[str], Any]) -> None:
        self._find_consumer = find_consumer
        self._owners: dict[str, tuple[str, str | None]] = {}

    def attach(self, consumer: str, credential: str | None, conf: dict[str, Any]) -> None:
        """Take up a key."""
        self._owners[conf["key"]] = (consumer, credential)

    def detach(self, consumer: str, credential: str | None, conf: dict[str, Any]) -> None:
        """Forget a key, if it is still this one's."""
        if self._owners.get(conf["key"]) == (consumer, credential):
            del self._owners[conf["key"]]

    def duplicate_of(self, consumer: str, credential: str | None, conf: dict[str, Any]) -> str | None:
        """Say who else has this key, in APISIX's words."""
        owner = self._owners.get(conf["key"])
        if owner is None or owner == (consumer, credential):
            return None
        whose = f"consumer: {owner[0]}"
        return whose if owner[1] is None else f"credential: {owner[1]} of {whose}"

    def rewrite(self, exchange: Exchange, conf: dict[str, Any]) -> Decision:
        """Find the consumer of the key, or the anonymous one."""
        key = exchange.headers.get(conf["header"])
        if key is None:
            key = take_from_query(exchange, conf["query"], remove=False)
        owner = None if key is None else self._owners.get(key)
        if owner is None:
            return self._anonymous(exchange, conf, missing=key is None)
        if conf["hide_credentials"]:
            self._hide(exchange, conf)
        exchange.consumer = self._find_consumer(owner[0])
        if exchange.consumer is not None and owner[1] is not None:
            exchange.credential = exchange.consumer.credentials.get(owner[1])
        return None

    def _anonymous(self, exchange: Exchange, conf: dict[str, Any], *, missing: bool) -> Decision:
        name = conf.get("anonymous_consumer")
        consumer = None if name is None else self._find_consumer(name)
        if consumer is not None:
            if conf["hide_credentials"]:
                self._hide(exchange, conf)
            exchange.consumer = consumer
            return None
        text = "Missing API key in request" if missing else "Invalid API key in request"
        challenge = f'apikey realm="{conf["realm"]}"'.encode("latin-1", "replace")
        return Refusal(
            401,
            msgspec.json.encode({"message": text}) + b"\n",
            "unauthorized",
            (_TEXT, (b"WWW-Authenticate", challenge)),
        )

    def _hide(self, exchange: Exchange, conf: dict[str, Any]) -> None:
        exchange.headers.popall(conf["header"], None)
        take_from_query(exchange, conf["query"], remove=True)
