"""Clients' connections: aiohttp's, which also count bytes and hand on what the parser refused."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from farebox_gateway.edge.settings import EdgeSettings

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]
Refuser = Callable[[BaseRequest, BaseException | None, int], Awaitable[web.StreamResponse]]
"""Answers what is no request: the error of the parser, and the status that it proposes."""


class EdgeProtocol(RequestHandler):
    """See the module."""

    __slots__ = ("_received", "_refuse")

    def __init__(self, *args: object, refuse: Refuser, **kwargs: object) -> None:
        self._refuse = refuse
        self._received = 0
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # handed through as they came

    def data_received(self, data: bytes) -> None:
        """Count what the client sends."""
        self._received += len(data)
        super().data_received(data)

    def _make_error_handler(self, err_info: Any) -> Handler:
        """Answer what the parser refused in the contract's shape."""

        async def handler(request: BaseRequest) -> web.StreamResponse:
            return await self._refuse(request, err_info.exc, err_info.status)

        return handler

    def take_received(self) -> int:
        """Return the bytes that came since the last call."""
        received, self._received = self._received, 0
        return received


class EdgeServer(web.Server):
    """aiohttp's server with our connections."""

    def __init__(self, handler: Handler, refuse: Refuser, settings: EdgeSettings) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._make: Callable[[], EdgeProtocol] = lambda: EdgeProtocol(
            self,
            loop=self._loop,
            refuse=refuse,
            access_log=None,
            keepalive_timeout=settings.keepalive_seconds,
            max_line_size=settings.max_head_bytes,
            max_field_size=settings.max_head_bytes,
            lingering_time=2.0,
            auto_decompress=False,
        )

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return self._make()


def received(request: BaseRequest) -> int:
    """Return the bytes that a request's client has sent since this was last asked."""
    protocol = request.protocol
    return protocol.take_received() if isinstance(protocol, EdgeProtocol) else 0
