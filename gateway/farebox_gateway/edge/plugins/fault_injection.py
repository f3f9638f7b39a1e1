"""`fault-injection` of APISIX, its `abort`: an answer of the gateway's own for requests that match.

With `vars` only those that meet one of the expressions, with `percentage` a share of them. Body and headers
may name variables. `delay` is refused: nobody is served slower on purpose here. Source: APISIX 3.18.
"""

import random
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from farebox_gateway.edge import variables
from farebox_gateway.edge.answer import reason_of
from farebox_gateway.edge.exchange import Refusal
from farebox_gateway.edge.expression import Condition, compile_expression
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins import header_fields
from farebox_gateway.edge.plugins.base import META, Decision, Place, Plugin
from farebox_gateway.edge.plugins.pages import page
from farebox_gateway.edge.schema import CheckedSchema

_TEXT: Final = (b"Content-Type", b"text/plain; charset=utf-8")
_WHOLE: Final = 100


@dataclass(frozen=True, slots=True)
class Abort:
    """A compiled configuration. `conditions` is None where every request is meant."""

    status: int
    body: str | None
    headers: tuple[tuple[str, str], ...]
    conditions: tuple[Condition, ...] | None
    percentage: int


class FaultInjection(Plugin):
    """See the module. `draw` gives a number from 0 up to 1."""

    name: ClassVar = "fault-injection"
    priority: ClassVar = 11000
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "abort": {
                        "type": "object",
                        "properties": {
                            "http_status": {"type": "integer", "minimum": 200, "maximum": 599},
                            "body": {"type": "string", "minLength": 0},
                            "headers": header_fields.VALUES,
                            "percentage": {"type": "integer", "minimum": 0, "maximum": _WHOLE},
                            "vars": {"type": "array", "maxItems": 20, "items": {"type": "array"}},
                        },
                        "required": ["http_status"],
                    },
                    "_meta": META,
                },
                "required": ["abort"],
                "additionalProperties": False,
            }
        )
    }

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Refuse expressions that are none."""
        merged = super().check(place, conf)
        for rules in merged["abort"].get("vars", ()):
            compile_expression(rules)
        for name in merged["abort"].get("headers", {}):
            header_fields.check_name(name)
        return merged

    def compile(self, place: Place, conf: dict[str, Any]) -> Abort:
        """Prepare the expressions."""
        del place
        abort = conf["abort"]
        return Abort(
            status=abort["http_status"],
            body=abort.get("body"),
            headers=tuple((name, str(value)) for name, value in abort.get("headers", {}).items()),
            conditions=tuple(compile_expression(rules) for rules in abort["vars"])
            if "vars" in abort
            else None,
            percentage=abort.get("percentage", _WHOLE),
        )

    def rewrite(self, exchange: Passage, conf: Abort) -> Decision:
        """Answer the requests that are meant."""
        if conf.conditions is not None and not any(
            met(lambda name: variables.value(name, exchange)) for met in conf.conditions
        ):
            return None
        if conf.percentage < _WHOLE and random.random() * _WHOLE >= conf.percentage:  # noqa: S311  # a sample, no secret
            return None
        content, body = page(conf.status, reason_of(conf.status))
        if conf.body is not None:
            filled, _ = variables.fill(conf.body, exchange)
            content, body = _TEXT, filled.encode("utf-8", "surrogateescape")
        for name, value in conf.headers:
            exchange.answer_headers[name.lower().encode()] = header_fields.line(name, value, exchange)
        return Refusal(conf.status, body, headers=(content,))
