"""`traffic-split` of APISIX: canaries and dark launches, a share of the requests or those that match.

The first rule whose `match` is met (any one of its `vars` expressions) decides; of its weighted upstreams one
is taken in turn by weight. An entry without an upstream is the route's own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from farebox_gateway.edge import variables
from farebox_gateway.edge.balancing import Node, RoundRobin
from farebox_gateway.edge.exchange import Refusal
from farebox_gateway.edge.expression import Condition, compile_expression
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins.base import META, Decision, Place, Plugin
from farebox_gateway.edge.schema import CheckedSchema, InvalidError
from farebox_gateway.edge.upstream import Upstream
from farebox_gateway.edge.upstream_schema import ID, INLINE_UPSTREAM, check_upstream

_TEXT: Final = (b"Content-Type", b"text/plain; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests, and where they go: an upstream's id, an upstream, or nothing for the route's own."""

    conditions: tuple[Condition, ...]
    turns: RoundRobin
    targets: Mapping[Node, str | Upstream | None]
    names: tuple[str, ...]


class TrafficSplit(Plugin):
    """See the module."""

    name: ClassVar = "traffic-split"
    priority: ClassVar = 966
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "rules": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "match": {
                                    "type": "array",
                                    "items": {"type": "object", "properties": {"vars": {"type": "array"}}},
                                },
                                "weighted_upstreams": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "properties": {
                                            "upstream_id": ID,
                                            "upstream": INLINE_UPSTREAM,
                                            "weight": {"type": "integer", "default": 1, "minimum": 0},
                                        },
                                    },
                                    "default": [{"weight": 1}],
                                    "minItems": 1,
                                    "maxItems": 20,
                                },
                            },
                        },
                    },
                    "_meta": META,
                },
                "additionalProperties": False,
            }
        )
    }

    def __init__(self, find_upstream: Callable[[str], Upstream | None]) -> None:
        self._find_upstream = find_upstream

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Refuse expressions that are none."""
        merged = super().check(place, conf)
        for rule in merged.get("rules", ()):
            for match in rule.get("match", ()):
                try:
                    compile_expression(match.get("vars"))
                except InvalidError as error:
                    raise InvalidError(f"failed to validate the 'vars' expression: {error}") from None
            for _, _, inline in _targets(rule):
                if inline is not None:
                    check_upstream(inline)
        return merged

    def uses(self, conf: dict[str, Any]) -> Iterator[tuple[str, ...]]:
        """Yield the upstreams that the rules name."""
        for rule in conf.get("rules", ()):
            for _, name, _ in _targets(rule):
                if name is not None:
                    yield "upstreams", name

    def compile(self, place: Place, conf: dict[str, Any]) -> tuple[Rule, ...]:
        """Prepare conditions and shares."""
        del place
        rules = []
        for rule in conf.get("rules", ()):
            targets: dict[Node, str | Upstream | None] = {}
            for index, (weight, name, inline) in enumerate(_targets(rule)):
                slot = Node(str(index), "", str(index), weight=weight)
                targets[slot] = name if name is not None else None if inline is None else Upstream(inline)
            rules.append(
                Rule(
                    tuple(compile_expression(match.get("vars")) for match in rule.get("match", ())),
                    RoundRobin(list(targets)),
                    targets,
                    tuple(name for name in targets.values() if isinstance(name, str)),
                )
            )
        return tuple(rules)

    def access(self, exchange: Passage, conf: tuple[Rule, ...]) -> Decision:
        """Choose the upstream."""
        for rule in conf:
            for name in rule.names:
                if self._find_upstream(name) is None:
                    text = f"failed to fetch upstream info by upstream id: {name}"
                    return Refusal(500, text.encode(), "upstream_error", (_TEXT,))
            if not rule.conditions or any(
                met(lambda name: variables.value(name, exchange)) for met in rule.conditions
            ):
                slot = rule.turns.pick(str, ())
                target = None if slot is None else rule.targets[slot]
                exchange.split = self._find_upstream(target) if isinstance(target, str) else target
                return None
        return None


def _targets(rule: Mapping[str, Any]) -> Iterator[tuple[int, str | None, dict[str, Any] | None]]:
    """Yield weight, id and inline upstream of each entry; an id goes before an upstream beside it."""
    for entry in rule.get("weighted_upstreams", [{"weight": 1}]):
        name = entry.get("upstream_id")
        yield entry.get("weight", 1), None if name is None else str(name), entry.get("upstream")
