"""The order of things for one request: route, plugins, upstream or refusal, usage line.

The line is appended to the log before the last byte of the answer is handed to the kernel. So an answer that
a client has received whole always has its line, whatever is killed and when; a request in flight at a kill
may have a line and no answer, as with nginx.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict, istr

from farebox_contract import problems
from farebox_contract.usage_line import VERSION, UsageLine
from farebox_gateway.edge import answer, request_text
from farebox_gateway.edge.config import Chain, EdgeConfig, Route
from farebox_gateway.edge.exchange import Refusal, new_request_id, now_ms
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins.base import Headers
from farebox_gateway.edge.plugins.redirect import to_https
from farebox_gateway.edge.proxy import Proxy, filtered, write
from farebox_gateway.edge.remote import Remote
from farebox_gateway.edge.router import normalize
from farebox_gateway.edge.settings import EdgeSettings
from farebox_gateway.edge.usage_log import UsageLog

log = logging.getLogger(__name__)

_USERNAME: Final = istr("X-Consumer-Username")
_CREDENTIAL: Final = istr("X-Credential-Identifier")
_GROUP: Final = istr("X-Consumer-Group-Id")
_CUSTOM_ID: Final = istr("X-Consumer-Custom-ID")
_encode = msgspec.json.Encoder().encode


class DataPlane:
    """Handles every request of the data-plane port."""

    def __init__(
        self, settings: EdgeSettings, config: EdgeConfig, log: UsageLog | None, proxy: Proxy, *, boot: str
    ) -> None:
        self._settings = settings
        self._config = config
        self._log = log
        self._proxy = proxy
        self._remote = Remote(settings.trusted_proxies)
        self._plain_http = settings.plain_http
        self._boot = boot
        self._clock = answer.Clock()
        self._sent = {True: answer.Sent(keep_alive=True), False: answer.Sent(keep_alive=False)}
        self.draining = False

    async def __call__(self, request: BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever happens, and write its line."""
        exchange = self._open(request)
        try:
            refusal = await self._decide(exchange)
            if refusal is None:
                return await self._forward(exchange)
            return await self._refuse(exchange, refusal)
        except asyncio.CancelledError:
            self._client_left(exchange)
            raise
        except ConnectionError:
            self._client_left(exchange)
            return self._sent[False]
        except Exception:
            log.exception("the gateway failed at a request, rid %s", exchange.rid)
            if exchange.sent:
                self._client_left(exchange)
                raise
            exchange.bare = True
            return await self._refuse(
                exchange,
                exchange.refuse(500, "internal_error", "The gateway failed at this request.", close=True),
            )

    # -- the steps

    def _open(self, request: BaseRequest) -> Passage:
        message_headers = request.headers
        target = request.raw_path
        host = message_headers.get(hdrs.HOST, "")
        if not target.startswith("/"):
            target, host = request_text.from_absolute(target, host)
        protocol = request.protocol
        received_before = protocol.take_received() if isinstance(protocol, EdgeProtocol) else 0
        headers = CIMultiDict(message_headers)
        remote = self._remote.of(request, headers)
        for spoofed in [name for name in headers if request_text.speaks_for_us(name)]:
            headers.popall(spoofed, None)
        return Passage(
            request=request,
            target=target,
            path=normalize(request_text.path_of(target)),
            host=host,
            remote=remote,
            started_ms=now_ms(),
            started_ns=time.perf_counter_ns(),
            rid=new_request_id(),
            received_before=received_before,
            headers=headers,
            upstream_target=target.partition("#")[0],
            upstream_method=request.method,
            secure=request.secure,
        )

    async def _decide(self, exchange: Passage) -> Refusal | None:
        config = self._config
        if self._plain_http != "serve" and exchange.headers["X-Forwarded-Proto"] != "https":
            return self._insecure(exchange)
        route = exchange.route = config.find_route(
            request_text.hostname(exchange.host), exchange.path, exchange.request.method
        )
        chain = exchange.chain = config.no_route if route is None else route.chain
        for plugin, conf in chain.rewrite:
            refusal = plugin.rewrite(exchange, conf)
            if refusal is not None:
                return refusal
        if route is None:
            return exchange.refuse(
                404, problems.NO_ROUTE, "No route of this API matches this path and method."
            )
        if exchange.consumer is not None:
            settled = self._take_consumer(exchange, route)
            if isinstance(settled, Refusal):
                return settled
            chain = exchange.chain = settled
        for plugin, conf in chain.access:
            decision = plugin.access(exchange, conf)
            if decision is not None and not isinstance(decision, Refusal):
                decision = await decision
            if decision is not None:
                return decision
        return None

    def _insecure(self, exchange: Passage) -> Refusal:
        if self._plain_http == "redirect":
            return to_https(exchange, self._config.https_port)
        return exchange.refuse(403, "https_required", "This API is served over HTTPS only.", close=True)

    def _take_consumer(self, exchange: Passage, route: Route) -> Chain | Refusal:
        """Return the chain for a request whose consumer is known, or why there is none."""
        consumer = exchange.consumer
        if consumer is not None and consumer.group_id:
            exchange.group = self._config.groups.get(consumer.group_id)
            if exchange.group is None:
                return exchange.refuse(
                    503,
                    problems.LIMITS_UNAVAILABLE,
                    "The plan of this account is not known here yet. Try again.",
                )
        chain = self._config.chain_for(route, exchange.group, consumer)
        if chain is not route.chain:
            refusal = self._rewrite_of_consumer(exchange, route.chain, chain)
            if refusal is not None:
                return refusal
        _name_consumer(exchange)
        return chain

    def _rewrite_of_consumer(self, exchange: Passage, before: Chain, merged: Chain) -> Refusal | None:
        """Run the rewrite phase of the plugins that came with the consumer, as APISIX does."""
        for plugin, conf in merged.rewrite:
            if plugin.name not in before.names:
                refusal = plugin.rewrite(exchange, conf)
                if refusal is not None:
                    return refusal
        return None

    async def _forward(self, exchange: Passage) -> web.StreamResponse:
        refusal = await self._proxy.forward(exchange, self)
        if refusal is not None:
            return await self._refuse(exchange, refusal)
        return self.sent(exchange)

    async def _refuse(self, exchange: Passage, refusal: Refusal) -> web.StreamResponse:
        request = exchange.request
        exchange.status = refusal.status
        exchange.outcome = refusal.outcome
        keep = self.keeps_alive(exchange) and not refusal.close and "Expect" not in request.headers
        body, headers = refusal.body, list(refusal.headers)
        if exchange.chain is not None and exchange.chain.header_filter and not exchange.bare:
            headers = self.filter_headers(exchange, [*headers, (b"Content-Length", b"%d" % len(body))])
            headers = [row for row in headers if row[0].lower() != b"content-length"]
            if exchange.body_filters:
                body = filtered(exchange, body, last=True)
        headers.append((b"Content-Length", b"%d" % len(body)))
        data = self.head(exchange, answer.reason_of(exchange.status), headers, b"", keep=keep)
        if request.method != "HEAD":
            data += body
        exchange.sent += len(data)
        self.finish(exchange)
        write(request, data)
        await request.writer.drain()
        return self._sent[keep]

    def _client_left(self, exchange: Passage) -> None:
        if exchange.logged:
            return
        exchange.outcome = "client_closed"
        if exchange.status == 0:
            exchange.status = 499
        self.finish(exchange)

    # -- what the proxy needs

    def keeps_alive(self, exchange: Passage) -> bool:
        """Return whether the client's connection stays open after this answer."""
        return exchange.request.keep_alive and not self.draining

    def sent(self, exchange: Passage) -> web.StreamResponse:
        """Return what aiohttp wants to see after an answer."""
        return self._sent[self.keeps_alive(exchange) and not exchange.closes]

    def head(
        self, exchange: Passage, reason: bytes, headers: answer.Headers, framing: bytes, *, keep: bool
    ) -> bytes:
        """Return the head of an answer."""
        if not keep:
            framing += b"Connection: close\r\n"
        elif exchange.request.version < (1, 1):
            framing += b"Connection: keep-alive\r\n"
        return answer.head(
            exchange.status,
            reason,
            headers,
            exchange.answer_headers,
            exchange.limit_lines,
            date=self._clock.line(now_ms()),
            framing=framing,
        )

    def filter_headers(self, exchange: Passage, headers: Headers) -> Headers:
        """Let the plugins see and change the headers of the answer."""
        chain = exchange.chain
        if chain is not None:
            for plugin, conf in chain.header_filter:
                headers = plugin.header_filter(exchange, conf, headers)
        return headers

    def finish(self, exchange: Passage) -> None:
        """Write the usage line; the next bytes to the client are the answer's last."""
        exchange.logged = True
        log = self._log
        if log is not None:
            log.write(_encode(self._line(exchange, log.next_sequence())) + b"\n")
        if exchange.chain is not None:
            for plugin, conf in exchange.chain.log:
                plugin.log(exchange, conf)

    def _line(self, exchange: Passage, sequence: int) -> UsageLine:
        request, route, group = exchange.request, exchange.route, exchange.group
        consumer, credential = exchange.consumer, exchange.credential
        protocol = request.protocol
        now_ns = time.perf_counter_ns()
        received = protocol.take_received() if isinstance(protocol, EdgeProtocol) else 0
        return UsageLine(
            v=VERSION,
            ts=exchange.started_ms,
            node=self._settings.node,
            boot=self._boot,
            worker=self._settings.worker,
            seq=sequence,
            rid=exchange.rid,
            env=exchange.environment,  # type: ignore[arg-type]  # the credential's schema allows no other
            org=None if consumer is None else consumer.name[:128],
            key=None if credential is None else credential.id,
            sub=exchange.subscription,
            group=None if group is None else group.id,
            route=None if route is None else route.id,
            method=request.method[:32],
            path=request_text.shown_path(exchange.target),
            status=exchange.status,
            outcome=exchange.outcome,
            units=exchange.units,
            in_=exchange.received_before + received,
            out=exchange.sent,
            us=(now_ns - exchange.started_ns) // 1000,
            up_us=(now_ns - exchange.upstream_began_ns) // 1000
            if exchange.upstream_answered and exchange.upstream_began_ns is not None
            else None,
            ip=exchange.remote,
            ua=request_text.shown_agent(request.headers.get(hdrs.USER_AGENT, "")),
        )

    async def broken(
        self, request: BaseRequest, error: BaseException | None, status: int
    ) -> web.StreamResponse:
        """Answer what is no request, or what we failed at, and write its line too."""
        exchange = Passage(
            request=request,
            target="/",
            path="/",
            host="",
            remote=self._remote.peer(request),
            started_ms=now_ms(),
            started_ns=time.perf_counter_ns(),
            rid=new_request_id(),
            received_before=0,
            headers=CIMultiDict(),
        )
        code, message = "bad_request", "This is not a valid HTTP request."
        if isinstance(error, LineTooLong):
            status, code = 431, "head_too_large"
            message = f"The request line and headers may have {self._settings.max_head_bytes} bytes each."
        elif status >= 500:
            code, message = "internal_error", "The gateway failed at this request."
        return await self._refuse(exchange, exchange.refuse(status, code, message, close=True))


class EdgeProtocol(RequestHandler):
    """aiohttp's connection, which also counts bytes and hands its own refusals to the data plane."""

    __slots__ = ("_data_plane", "_received")

    def __init__(self, *args: object, data_plane: DataPlane, **kwargs: object) -> None:
        self._data_plane = data_plane
        self._received = 0
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # handed through as they came

    def data_received(self, data: bytes) -> None:
        """Count what the client sends."""
        self._received += len(data)
        super().data_received(data)

    def _make_error_handler(self, err_info: Any) -> Callable[[BaseRequest], Awaitable[web.StreamResponse]]:
        """Answer what the parser refused in the contract's shape."""

        async def handler(request: BaseRequest) -> web.StreamResponse:
            return await self._data_plane.broken(request, err_info.exc, err_info.status)

        return handler

    def take_received(self) -> int:
        """Return the bytes that came since the last call."""
        received, self._received = self._received, 0
        return received


class EdgeServer(web.Server):
    """aiohttp's server with our connections."""

    def __init__(self, data_plane: DataPlane, settings: EdgeSettings) -> None:
        super().__init__(data_plane, handler_cancellation=True)
        self._make: Callable[[], EdgeProtocol] = lambda: EdgeProtocol(
            self,
            loop=self._loop,
            data_plane=data_plane,
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


def _name_consumer(exchange: Passage) -> None:
    headers, consumer = exchange.headers, exchange.consumer
    if consumer is None:
        return
    headers[_USERNAME] = consumer.name
    if exchange.credential is not None:
        headers[_CREDENTIAL] = exchange.credential.id
    if consumer.group_id:
        headers[_GROUP] = consumer.group_id
    if consumer.custom_id:
        headers[_CUSTOM_ID] = consumer.custom_id
