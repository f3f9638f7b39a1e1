"""Who is at the other end: `X-Forwarded-For` is believed only as far as trusted proxies wrote it."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp import hdrs, web

_NEIGHBOURHOOD: Final = 64
"""One subscriber of IPv6 has a /64 at least, so its addresses count as one caller."""


def caller_address(request: web.Request, trusted: tuple[str, ...]) -> str:
    """Return the address of the nearest hop that is no trusted proxy; an IPv6 address as its /64."""
    peer = request.remote or ""
    networks = _networks(trusted)
    if not networks or not _within(peer, networks):
        return _canonical(peer)
    hops = [
        hop.strip() for value in request.headers.getall(hdrs.X_FORWARDED_FOR, []) for hop in value.split(",")
    ]
    for hop in reversed(hops):
        if not _is_address(hop):
            break
        peer = hop
        if not _within(hop, networks):
            break
    return _canonical(peer)


def refuse_unreadable(trusted: tuple[str, ...]) -> None:
    """Raise `ValueError` naming what in FAREBOX_TRUSTED_PROXIES is no network."""
    for cidr in trusted:
        try:
            ip_network(cidr, strict=False)
        except ValueError as error:
            raise ValueError(f"FAREBOX_TRUSTED_PROXIES: {cidr!r} is no network such as 10.0.0.0/8") from error


def is_loopback(request: web.Request) -> bool:
    """Tell whether the caller sits on this machine, and not behind a proxy that does."""
    forwarded = hdrs.X_FORWARDED_FOR in request.headers or hdrs.FORWARDED in request.headers
    return (
        not forwarded and _is_address(request.remote or "") and ip_address(request.remote or "").is_loopback
    )


@lru_cache(maxsize=8)
def _networks(trusted: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(cidr, strict=False) for cidr in trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _plain(text: str) -> str:
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _within(text: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    if not _is_address(text):
        return False
    address = ip_address(_plain(text))
    return any(address in network for network in networks)


def _canonical(text: str) -> str:
    if not _is_address(text):
        return "unknown"
    address = ip_address(_plain(text))
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _NEIGHBOURHOOD), strict=False))
    return str(address)
