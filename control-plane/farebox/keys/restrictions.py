"""What a key may be restricted to: scopes over method and route, and networks to be called from. Pure.

The gateway refuses a credential whose scopes or networks could never match; here they are refused where a
person writes them, and brought to one form, so that equal restrictions compare equal.
"""

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema

SCOPE_PATTERN: Final = r"^(\*|[A-Z]{1,32}) (\*|[a-zA-Z0-9_.-]{1,64}\*?)$"
NETWORK_PATTERN: Final = r"^[0-9a-fA-F:.]{2,45}(/[0-9]{1,3})?$"
MOST_SCOPES: Final = 64
MOST_NETWORKS: Final = 64
_SCOPE: Final = re.compile(SCOPE_PATTERN)
_NETWORK: Final = re.compile(NETWORK_PATTERN)


def scope(text: str) -> str:
    """Check `METHOD route`, `*` for any, a route ending in `*` for all that begin so. Raises `ValueError`."""
    if not _SCOPE.fullmatch(text):
        raise ValueError("write METHOD route, such as `GET messages`, `* messages*` or `GET *`")
    return text


def network(text: str) -> str:
    """Read an IPv4 or IPv6 address or CIDR and return its usual form. Raises `ValueError`.

    Bits behind the prefix are cleared; an IPv4-mapped IPv6 network is written as the IPv4 one that it means.
    """
    if not _NETWORK.fullmatch(text):
        raise ValueError("write an address or a CIDR, such as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32")
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{error}; write it as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32") from None
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped is not None and found.prefixlen >= 96:
        found = ipaddress.ip_network((mapped, found.prefixlen - 96))
    return str(found)


def _scopes(values: list[str]) -> list[str]:
    return list(dict.fromkeys(scope(value) for value in values))


def _networks(values: list[str]) -> list[str]:
    return list(dict.fromkeys(network(value) for value in values))


Scopes = Annotated[
    list[str],
    Field(min_length=1, max_length=MOST_SCOPES, examples=[["GET messages", "POST messages"]]),
    AfterValidator(_scopes),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_SCOPES,
            "items": {"type": "string", "pattern": SCOPE_PATTERN, "examples": ["GET messages"]},
        },
        mode="validation",
    ),
]
"""1 to 64 scopes `METHOD route`, each once."""

Networks = Annotated[
    list[str],
    Field(min_length=1, max_length=MOST_NETWORKS, examples=[["203.0.113.0/24", "2001:db8::/32"]]),
    AfterValidator(_networks),
]
"""1 to 64 IPv4 or IPv6 networks in their usual form, each once."""
