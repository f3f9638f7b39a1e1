"""`response-rewrite` of APISIX, without its `filters`: another status, body or headers for the client."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from farebox_gateway.edge import variables
from farebox_gateway.edge.expression import Condition, compile_expression
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins import header_fields
from farebox_gateway.edge.plugins.base import META, Headers, Place, Plugin
from farebox_gateway.edge.schema import CheckedSchema, InvalidError

_OF_THE_BODY: Final = frozenset(
    {b"content-length", b"content-encoding", b"last-modified", b"etag", b"accept-ranges"}
)


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A compiled configuration."""

    met: Condition | None
    status: int | None
    body: bytes | None
    add: tuple[tuple[str, str], ...]
    set: tuple[tuple[str, str], ...]
    remove: frozenset[bytes]


class Replaced:
    """Another body instead of the upstream's."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def feed(self, data: bytes) -> bytes:
        """Drop what comes."""
        del data
        return b""

    def finish(self) -> bytes:
        """Give the other body."""
        return self._body


class ResponseRewrite(Plugin):
    """See the module."""

    name: ClassVar = "response-rewrite"
    priority: ClassVar = 899
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "headers": {
                        "anyOf": [
                            {
                                "type": "object",
                                "properties": {
                                    "add": {
                                        "type": "array",
                                        "minItems": 1,
                                        "items": {"type": "string", "pattern": "^[^:]+:[^:]*[^/]$"},
                                    },
                                    "set": header_fields.VALUES,
                                    "remove": {
                                        "type": "array",
                                        "minItems": 1,
                                        "items": {"type": "string", "pattern": "^[^:]+$"},
                                    },
                                },
                                "additionalProperties": False,
                            },
                            header_fields.VALUES,
                        ]
                    },
                    "body": {"type": "string"},
                    "body_base64": {"type": "boolean", "default": False},
                    "status_code": {"type": "integer", "minimum": 200, "maximum": 598},
                    "vars": {"type": "array"},
                    "_meta": META,
                },
                "additionalProperties": False,
            }
        )
    }

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Refuse expressions, headers and bodies that are none."""
        merged = super().check(place, conf)
        if "vars" in merged:
            try:
                compile_expression(merged["vars"])
            except InvalidError as error:
                raise InvalidError(f"failed to validate the 'vars' expression: {error}") from None
        add, put, _ = _headers(merged.get("headers", {}))
        for name, _ in (*add, *put):
            header_fields.check_name(name)
        if merged["body_base64"]:
            if not merged.get("body"):
                raise InvalidError("invalid base64 content")
            try:
                base64.b64decode(merged["body"], validate=True)
            except binascii.Error:
                raise InvalidError("invalid base64 content") from None
        return merged

    def compile(self, place: Place, conf: dict[str, Any]) -> Rewriting:
        """Prepare what each answer needs."""
        del place
        add, put, remove = _headers(conf.get("headers", {}))
        body = conf.get("body")
        if body is not None:
            body = base64.b64decode(body) if conf["body_base64"] else body.encode()
        return Rewriting(
            met=compile_expression(conf["vars"]) if "vars" in conf else None,
            status=conf.get("status_code"),
            body=body,
            add=add,
            set=put,
            remove=frozenset(name.lower().encode() for name in remove),
        )

    def header_filter(self, exchange: Passage, conf: Rewriting, headers: Headers) -> Headers:
        """Change the answer's head, and let its body be another."""
        if conf.met is not None and not conf.met(lambda name: variables.value(name, exchange)):
            return headers
        if conf.status is not None:
            exchange.status = conf.status
        if conf.body is not None:
            exchange.resized = True
            exchange.body_filters.append(Replaced(conf.body))
            headers = [row for row in headers if row[0].lower() not in _OF_THE_BODY]
        headers = headers + [header_fields.line(name, value, exchange) for name, value in conf.add]
        for name, value in conf.set:
            key = name.lower().encode()
            headers = [row for row in headers if row[0].lower() != key]
            headers.append(header_fields.line(name, value, exchange))
            exchange.answer_headers.pop(key, None)
        for key in conf.remove:
            exchange.answer_headers.pop(key, None)
        return [row for row in headers if row[0].lower() not in conf.remove]


Pairs = tuple[tuple[str, str], ...]


def _headers(conf: Mapping[str, Any]) -> tuple[Pairs, Pairs, tuple[str, ...]]:
    """Return what is added, set and removed; the old form of the configuration sets everything."""
    if any(isinstance(conf.get(name), dict | list) for name in ("add", "set", "remove")):
        added = [line.partition(":") for line in conf.get("add", ())]
        return (
            tuple((name.strip(), value.strip()) for name, _, value in added),
            tuple((name, str(value)) for name, value in conf.get("set", {}).items()),
            tuple(conf.get("remove", ())),
        )
    return (), tuple((name, str(value)) for name, value in conf.items()), ()
