"""Whose address a request comes from: the peer's, or what a trusted proxy says before it.

`X-Forwarded-For` is read from its end for as long as the addresses are trusted proxies; the first that is
none is the client. From a peer that is no trusted proxy the header means nothing and is written anew.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from aiohttp.hdrs import HOST
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict, istr

from farebox_gateway.edge.settings import Network

_REMEMBERED: Final = 4096
"""Reading an address costs a twentieth of a whole request; a client sends many from one."""
_FOR: Final = istr("X-Forwarded-For")
_REAL_IP: Final = istr("X-Real-IP")
_PROTO: Final = istr("X-Forwarded-Proto")
_HOST: Final = istr("X-Forwarded-Host")
_PORT: Final = istr("X-Forwarded-Port")
_SAID_BY_PROXIES: Final = (_PROTO, _HOST, _PORT)


class Remote:
    """Reads and writes the forwarding headers."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)

    def peer(self, request: BaseRequest) -> str:
        """Return the address at the other end of the connection."""
        peer = request.remote
        return "unknown" if peer is None else _address(peer) or peer

    def of(self, request: BaseRequest, headers: CIMultiDict[str]) -> str:
        """Return the client's address and set the forwarding headers for the upstream in `headers`."""
        peer = self.peer(request)
        chain: list[str] = []
        said: list[str | None]
        if self._trusted and self._is_trusted(peer):
            for value in headers.getall(_FOR, ()):
                chain += [part.strip() for part in value.split(",") if part.strip()]
            said = [headers.get(name) for name in _SAID_BY_PROXIES]
        else:
            said = [None, None, None]
        client = peer
        for address in reversed(chain):
            shown = _address(address)
            if shown is None:
                break
            client = shown
            if not self._is_trusted(shown):
                break
        proto, host, port = said
        local = request.protocol.sockname
        headers[_REAL_IP] = client
        headers[_FOR] = ", ".join((*chain, peer)) if chain else peer
        headers[_PROTO] = proto or ("https" if request.secure else "http")
        headers[_HOST] = host or request.headers.get(HOST) or ""
        headers[_PORT] = port or (str(local[1]) if isinstance(local, tuple) else "80")
        return client

    def _is_trusted(self, text: str) -> bool:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        return any(address.version == network.version and address in network for network in self._trusted)


@lru_cache(maxsize=_REMEMBERED)
def _address(text: str) -> str | None:
    """Return the address in one element of X-Forwarded-For, which may carry a port; a mapped one as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
