"""The sockets on which clients call: plain HTTP, and TLS.

The certificate can be exchanged while serving; connections that are open keep theirs.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farebox_gateway.edge.settings import EdgeSettings, SettingsError

log = logging.getLogger(__name__)

Address = tuple[str, int]
_BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class Listeners:
    """What listens; `secure` is none without a certificate."""

    servers: tuple[asyncio.Server, ...]
    data: Address
    secure: Address | None
    reload: Callable[[], None]
    """Read the certificate again; a bad one is told in the log and the old one stays."""

    def close(self) -> None:
        """Take no new connections."""
        for server in self.servers:
            server.close()


@contextlib.asynccontextmanager
async def listening(
    settings: EdgeSettings, protocol: Callable[[], asyncio.Protocol]
) -> AsyncIterator[Listeners]:
    """Listen while the context lasts. Raises `OSError` for a port, `SettingsError` for a certificate."""
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(protocol, settings.data_host, settings.data_port, backlog=_BACKLOG)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(plain.close)
        servers: tuple[asyncio.Server, ...] = (plain,)
        secure: Address | None = None
        certificate, key = settings.tls_certificate, settings.tls_key
        again: Callable[[], None] = _nothing
        if certificate is not None and key is not None:
            context = _context(certificate, key)
            tls = await loop.create_server(
                protocol, settings.data_host, settings.tls_port, backlog=_BACKLOG, ssl=context
            )
            stack.callback(tls.close)
            servers, secure = (plain, tls), _bound(tls)
            again = _reloader(context, certificate, key)
        yield Listeners(servers, _bound(plain), secure, again)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, certificate, key)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"FAREBOX_EDGE_TLS_CERTIFICATE {certificate} and FAREBOX_EDGE_TLS_KEY {key} cannot be used:"
            f" {error}; both are PEM files, the certificate first in its chain, and belong together"
        ) from None


def _reloader(context: ssl.SSLContext, certificate: Path, key: Path) -> Callable[[], None]:
    def again() -> None:
        try:
            # Into a context of its own first: a half-loaded pair would break connections.
            _context(certificate, key)
            _load(context, certificate, key)
        except SettingsError as error:
            log.critical("the certificate was not exchanged: %s", error)
        else:
            log.info("the certificate was read again")

    return again


def _nothing() -> None:
    """There is no certificate."""


def _bound(server: asyncio.Server) -> Address:
    name = server.sockets[0].getsockname()
    return name[0], name[1]
