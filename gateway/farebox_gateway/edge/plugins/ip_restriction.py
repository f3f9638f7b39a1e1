"""`ip-restriction` of APISIX: which addresses may call a route, or may not."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from farebox_gateway.edge.exchange import Refusal
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins.base import META, Decision, Place, Plugin
from farebox_gateway.edge.schema import CheckedSchema, InvalidError
from farebox_gateway.edge.settings import Network

_TEXT: Final = (b"Content-Type", b"text/plain; charset=utf-8")
_NETWORKS: Final = {"type": "array", "items": {"type": "string"}, "minItems": 1}


@dataclass(frozen=True, slots=True)
class Restriction:
    """A compiled configuration."""

    networks: tuple[Network, ...]
    allowed: bool
    code: int
    body: bytes


class IpRestriction(Plugin):
    """See the module."""

    name: ClassVar = "ip-restriction"
    priority: ClassVar = 3000
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "message": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 1024,
                        "default": "Your IP address is not allowed",
                    },
                    "response_code": {"type": "integer", "minimum": 403, "maximum": 404, "default": 403},
                    "whitelist": _NETWORKS,
                    "blacklist": _NETWORKS,
                    "_meta": META,
                },
                "additionalProperties": False,
                "oneOf": [{"required": ["whitelist"]}, {"required": ["blacklist"]}],
            }
        )
    }

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Refuse what is no address."""
        merged = super().check(place, conf)
        for name in ("whitelist", "blacklist"):
            for text in merged.get(name, ()):
                try:
                    ipaddress.ip_network(text, strict=False)
                except ValueError:
                    raise InvalidError(f"invalid ip address: {text}") from None
        return merged

    def compile(self, place: Place, conf: dict[str, Any]) -> Restriction:
        """Prepare the networks."""
        del place
        allowed = "whitelist" in conf
        texts: Sequence[str] = conf["whitelist" if allowed else "blacklist"]
        return Restriction(
            networks=tuple(ipaddress.ip_network(text, strict=False) for text in texts),
            allowed=allowed,
            code=conf["response_code"],
            body=msgspec.json.encode({"message": conf["message"]}) + b"\n",
        )

    def access(self, exchange: Passage, conf: Restriction) -> Decision:
        """Refuse an address that may not call."""
        if _within(exchange.remote, conf.networks) is conf.allowed:
            return None
        return Refusal(conf.code, conf.body, "forbidden", (_TEXT,))


def _within(text: str, networks: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address.version == network.version and address in network for network in networks)
