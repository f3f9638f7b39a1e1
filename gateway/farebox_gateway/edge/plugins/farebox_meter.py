"""`farebox-meter`: how many units a request weighs, said by the route or by the upstream.

The usage line itself is written for every answered request by the data plane, with or without this plugin.
"""

from typing import ClassVar, Final

from farebox_contract.billable import DEFAULT_RULE
from farebox_contract.plugins import METER, METER_ON_ROUTE
from farebox_contract.usage_line import MAX_UNITS
from farebox_gateway.edge.exchange import Exchange
from farebox_gateway.edge.plugins.base import Decision, Headers, Plugin
from farebox_gateway.edge.schema import CheckedSchema

UNITS_HEADER: Final = b"x-farebox-units"


class FareboxMeter(Plugin):
    """See the module."""

    name: ClassVar = METER
    priority: ClassVar = 2550
    schemas: ClassVar = {"route": CheckedSchema(METER_ON_ROUTE)}

    def rewrite(self, exchange: Exchange, conf: dict[str, object]) -> Decision:
        """Set the route's weight and billable rule before any limit takes it."""
        units = conf.get("units", 1)
        exchange.units = units if isinstance(units, int) else 1
        rule = conf.get("rule")
        exchange.rule = rule if isinstance(rule, str) else DEFAULT_RULE
        return None

    def header_filter(self, exchange: Exchange, conf: dict[str, object], headers: Headers) -> Headers:
        """Take the upstream's units, if the route lets it say them, and hide them from the client."""
        if not conf.get("upstream_units"):
            return headers
        kept: Headers = []
        for name, value in headers:
            if name.lower() != UNITS_HEADER:
                kept.append((name, value))
            elif value.isdigit() and len(value) <= 13 and int(value) <= MAX_UNITS:
                exchange.units = int(value)
        return kept
