"""The shape of a plugin: a schema per place, a priority, and the phases of APISIX that it takes part in.

`rewrite` runs before the consumer is known (authentication itself is a rewrite), `access` after it,
`header_filter` when the answer's head is known, be it the upstream's or a refusal's, `log` after the answer.
Of several plugins the higher priority runs first.
"""

from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, ClassVar, Final, Literal
from urllib.parse import unquote_plus

from farebox_gateway.edge.exchange import Exchange, Refusal
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.schema import CheckedSchema, InvalidError

Place = Literal["route", "consumer_group", "consumer", "credential"]
Headers = list[tuple[bytes, bytes]]
Decision = Refusal | None

META: Final = {
    "type": "object",
    "properties": {"disable": {"type": "boolean"}, "priority": {"type": "integer"}},
    "additionalProperties": False,
}
"""What may be said of any plugin: that it is off, and when it runs among the others. The rest of APISIX's
(`filter`, `error_response`, `pre_function`) is refused: a plugin that was narrowed must not run always."""
_ANY: Final = CheckedSchema({"type": "object", "properties": {"_meta": META}})


class Plugin:
    """A plugin does nothing in the phases that it does not override."""

    name: ClassVar[str]
    priority: ClassVar[int]
    authenticates: ClassVar[bool] = False
    reads_consumer: ClassVar[bool] = False
    """It looks at the group's and the consumer's configuration by itself: none is merged into the route."""
    schemas: ClassVar[Mapping[str, CheckedSchema]]

    def attach(self, consumer: str, credential: str | None, conf: dict[str, Any]) -> None:
        """Learn of a configuration on a consumer or a credential."""
        del consumer, credential, conf

    def detach(self, consumer: str, credential: str | None, conf: dict[str, Any]) -> None:
        """Forget it."""
        del consumer, credential, conf

    def duplicate_of(self, consumer: str, credential: str | None, conf: dict[str, Any]) -> str | None:
        """Say whose configuration this one clashes with."""
        del consumer, credential, conf
        return None

    def uses(self, conf: dict[str, Any]) -> Iterator[tuple[str, ...]]:
        """Yield what a configuration refers to: kind and id."""
        del conf
        yield from ()

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Return the configuration with its defaults. Raises `InvalidError`."""
        self._schema(place).check(conf)
        _ANY.check(conf)
        return self.merge_defaults(place, conf)

    def merge_defaults(self, place: Place, conf: dict[str, Any]) -> dict[str, Any]:
        """Return a checked configuration with its defaults; what is stored is what was put, without them."""
        return self._schema(place).merge_defaults(conf)

    def _schema(self, place: Place) -> CheckedSchema:
        schema = self.schemas.get(place) or (None if self.authenticates else self.schemas.get("route"))
        if schema is None:
            raise InvalidError(f"{self.name} has no configuration on a {place}")
        return schema

    def compile(self, place: Place, conf: dict[str, Any]) -> Any:
        """Return what the phases get instead of the raw configuration."""
        del place
        return conf

    def compile_of(self, owner: str, conf: dict[str, Any]) -> Any:
        """Return the same for what runs on routes; `owner` (`routes/r1`) is where it stands."""
        del owner
        return self.compile("route", conf)

    def rewrite(self, exchange: Passage, conf: Any) -> Decision:
        """Look at the request before the consumer is known."""
        del exchange, conf
        return None

    def access(self, exchange: Passage, conf: Any) -> Decision | Awaitable[Decision]:
        """Decide on the request; the consumer, if any, is known."""
        del exchange, conf
        return None

    def header_filter(self, exchange: Passage, conf: Any, headers: Headers) -> Headers:
        """Return the upstream's headers as the client may see them."""
        del exchange, conf
        return headers

    def log(self, exchange: Passage, conf: Any) -> None:
        """Take note of the answer; the usage line has been written."""
        del exchange, conf


def takes_part(plugin: Plugin, phase: str) -> bool:
    """Return whether a plugin overrides a phase."""
    return getattr(type(plugin), phase) is not getattr(Plugin, phase)


def take_from_query(exchange: Exchange, parameter: str, *, remove: bool) -> str | None:
    """Return the first value of a query parameter; with `remove` the upstream sees none of them."""
    path, mark, query = exchange.upstream_target.partition("?")
    if not mark:
        return None
    found: str | None = None
    kept = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) == parameter:
            found = unquote_plus(value) if found is None else found
        else:
            kept.append(part)
    if remove and found is not None:
        exchange.upstream_target = path + ("?" + "&".join(kept) if kept else "")
    return found
