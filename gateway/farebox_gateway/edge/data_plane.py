"""The order of things for one request: route, plugins, upstream or refusal, usage line.

The line is appended to the log before the last byte of the answer is handed to the kernel. So an answer that
a client has received whole always has its line, whatever is killed and when; a request in flight at a kill
may have a line and no answer, as with nginx.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TypedDict

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict

from farebox_contract import problems
from farebox_gateway.edge import answer, request_text
from farebox_gateway.edge.caller_headers import name_consumer
from farebox_gateway.edge.chains import Chain
from farebox_gateway.edge.config import EdgeConfig
from farebox_gateway.edge.connections import received
from farebox_gateway.edge.exchange import Refusal, new_request_id
from farebox_gateway.edge.lines import line_of
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins.base import Headers
from farebox_gateway.edge.plugins.redirect import to_https
from farebox_gateway.edge.proxy import Proxy
from farebox_gateway.edge.relay import filtered, write
from farebox_gateway.edge.remote import Remote
from farebox_gateway.edge.route_table import ServedRoute
from farebox_gateway.edge.router import normalize
from farebox_gateway.edge.settings import EdgeSettings
from farebox_gateway.edge.usage_log import UsageLog
from farebox_gateway.edge.wall_clock import now_ms

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class _Stream(TypedDict):
    node: str
    boot: str
    worker: int


@dataclass(slots=True, eq=False)
class Journey(Passage):
    """A request with the plugins that run for it."""

    chain: Chain | None = None


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
        self._stream: _Stream = {"node": settings.node, "boot": boot, "worker": settings.worker}
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

    def _open(self, request: BaseRequest) -> Journey:
        message_headers = request.headers
        target = request.raw_path
        host = message_headers.get(hdrs.HOST, "")
        if not target.startswith("/"):
            target, host = request_text.from_absolute(target, host)
        headers = CIMultiDict(message_headers)
        remote = self._remote.of(request, headers)
        for spoofed in [name for name in headers if name[:1] in "Xx" and request_text.speaks_for_us(name)]:
            headers.popall(spoofed, None)
        return Journey(
            request=request,
            target=target,
            path=normalize(request_text.path_of(target)),
            host=host,
            remote=remote,
            started_ms=now_ms(),
            started_ns=time.perf_counter_ns(),
            rid=new_request_id(),
            received_before=received(request),
            headers=headers,
            upstream_target=target.partition("#")[0],
            upstream_method=request.method,
            secure=request.secure,
        )

    async def _decide(self, exchange: Journey) -> Refusal | None:
        config = self._config
        if self._plain_http != "serve" and exchange.headers["X-Forwarded-Proto"] != "https":
            return self._insecure(exchange)
        route = exchange.route = config.routes.find(
            request_text.hostname(exchange.host), exchange.path, exchange.request.method
        )
        chain = exchange.chain = config.routes.no_route if route is None else route.chain
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

    def _insecure(self, exchange: Journey) -> Refusal:
        if self._plain_http == "redirect":
            return to_https(exchange, self._config.https_port)
        return exchange.refuse(403, "https_required", "This API is served over HTTPS only.", close=True)

    def _take_consumer(self, exchange: Journey, route: ServedRoute) -> Chain | Refusal:
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
        chain = self._config.routes.chain_for(route, exchange.group, consumer)
        if chain is not route.chain:
            refusal = self._rewrite_of_consumer(exchange, route.chain, chain)
            if refusal is not None:
                return refusal
        name_consumer(exchange)
        return chain

    def _rewrite_of_consumer(self, exchange: Journey, before: Chain, merged: Chain) -> Refusal | None:
        """Run the rewrite phase of the plugins that came with the consumer, as APISIX does."""
        for plugin, conf in merged.rewrite:
            if plugin.name not in before.names:
                refusal = plugin.rewrite(exchange, conf)
                if refusal is not None:
                    return refusal
        return None

    async def _forward(self, exchange: Journey) -> web.StreamResponse:
        refusal = await self._proxy.forward(exchange, self)
        if refusal is not None:
            return await self._refuse(exchange, refusal)
        return self.sent(exchange)

    async def _refuse(self, exchange: Journey, refusal: Refusal) -> web.StreamResponse:
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

    def _client_left(self, exchange: Journey) -> None:
        if exchange.logged:
            return
        exchange.outcome = "client_closed"
        if exchange.status == 0:
            exchange.status = 499
        self.finish(exchange)

    # -- what the proxy needs

    def keeps_alive(self, exchange: Journey) -> bool:
        """Return whether the client's connection stays open after this answer."""
        return exchange.request.keep_alive and not self.draining

    def sent(self, exchange: Journey) -> web.StreamResponse:
        """Return what aiohttp wants to see after an answer."""
        return self._sent[self.keeps_alive(exchange) and not exchange.closes]

    def head(
        self, exchange: Journey, reason: bytes, headers: answer.Headers, framing: bytes, *, keep: bool
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

    def filter_headers(self, exchange: Journey, headers: Headers) -> Headers:
        """Let the plugins see and change the headers of the answer."""
        chain = exchange.chain
        if chain is not None:
            for plugin, conf in chain.header_filter:
                headers = plugin.header_filter(exchange, conf, headers)
        return headers

    def finish(self, exchange: Journey) -> None:
        """Write the usage line; the next bytes to the client are the answer's last."""
        exchange.logged = True
        log = self._log
        if log is not None:
            line = line_of(exchange, log.next_sequence(), **self._stream)
            log.write(_encode(line) + b"\n")
        if exchange.chain is not None:
            for plugin, conf in exchange.chain.log:
                plugin.log(exchange, conf)

    async def broken(
        self, request: BaseRequest, error: BaseException | None, status: int
    ) -> web.StreamResponse:
        """Answer what is no request, or what we failed at, and write its line too."""
        exchange = Journey(
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
