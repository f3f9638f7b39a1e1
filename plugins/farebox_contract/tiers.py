"""Who calls without a key: the polite, who say how to reach them, and the anonymous, known by address alone.

A contact is a mail address in the User-Agent (`my-client/1.0 (mailto:jo@example.org)`, the words before it
are free). It is believed, not checked, so it buys no more than its address may have: what a contact uses is
counted for the contact and for the address that it came from. Test vectors stand in `tier_vectors.json`;
every implementation runs them. This module knows no limit's value and no store.
"""

import hashlib
import ipaddress
import re
from typing import Final, Literal

Tier = Literal["keyed", "polite", "anonymous"]

TIERS: Final[tuple[Tier, ...]] = ("keyed", "polite", "anonymous")
MAX_AGENT_BYTES: Final = 512
"""A contact further behind is not looked for."""
MAX_CONTACT_LENGTH: Final = 254
"""RFC 5321, 4.5.3.1.3, without the angle brackets."""
_LOCAL: Final = re.compile(rb"[A-Za-z0-9._%+-]+\Z")
_DOMAIN: Final = re.compile(rb"[A-Za-z0-9.-]*")
_LABEL: Final = re.compile(rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
_TOP: Final = re.compile(rb"[A-Za-z]{2,63}\Z")


def contact(agent: bytes) -> str | None:
    """Return the first mail address in a User-Agent, in lower case, or None.

    Left of the `@`: 1 to 64 of letters, digits, `. _ % + -`, neither first nor last a dot. Right of it: at
    least two labels, the last of two letters or more; dots and hyphens at its end belong to the sentence
    around it.
    """
    agent = agent[:MAX_AGENT_BYTES]
    at = agent.find(b"@")
    while at >= 0:
        local = _LOCAL.search(agent, 0, at)
        domain = _DOMAIN.match(agent, at + 1)
        if local is not None and domain is not None:
            found = _address(local[0], domain[0].rstrip(b".-"))
            if found is not None:
                return found
        at = agent.find(b"@", at + 1)
    return None


def _address(local: bytes, domain: bytes) -> str | None:
    labels = domain.split(b".")
    if (
        len(local) > 64
        or local.startswith(b".")
        or local.endswith(b".")
        or len(local) + 1 + len(domain) > MAX_CONTACT_LENGTH
        or len(labels) < 2
        or not all(_LABEL.match(label) for label in labels)
        or not _TOP.match(labels[-1])
    ):
        return None
    return (local + b"@" + domain).decode("ascii").lower()


def contact_name(contact: str) -> str:
    """Return what a contact is called in counters: no mail address stands in Redis."""
    return hashlib.sha256(contact.encode("ascii")).hexdigest()[:32]


def address_name(remote: str) -> str:
    """Return what an address is called in counters: an IPv4 address as it is, of an IPv6 one its /64.

    The /64 is 16 hexadecimal digits. An IPv4 address mapped into IPv6 is the IPv4 address. What is no address
    (a client on a Unix socket) is `-`: all of these are one caller.
    """
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return "-"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.scope_id is not None:
        return "-"
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else address.packed[:8].hex()
