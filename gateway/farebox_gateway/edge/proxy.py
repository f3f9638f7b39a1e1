"""The upstream side of a request: bodies streamed both ways, failures told apart, nothing sent twice.

A request is tried at another node if no connection could be made, so nothing of it was sent; an idempotent
one also if the node broke off or was too slow before its answer began. It is never tried again once a byte of
its body has been taken from the client, for that byte is gone. (On a kept-alive connection that the upstream
closed meanwhile, aiohttp sends an idempotent request once more, as RFC 9112, section 9.3.1, allows.) This
module knows upstreams and streams, and no plugins.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ConnectionTimeoutError,
    hdrs,
)
from multidict import istr
from yarl import URL

from farebox_contract import problems
from farebox_gateway.edge import answer
from farebox_gateway.edge.exchange import Refusal
from farebox_gateway.edge.hash_key import hash_key
from farebox_gateway.edge.health import Fault
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.relay import P, Side, relay, write
from farebox_gateway.edge.request_text import hostname
from farebox_gateway.edge.tunnel import tunnel
from farebox_gateway.edge.upstream import Node, Timeouts, Upstream

log = logging.getLogger(__name__)

_HOP_BY_HOP: Final = (*(istr(name.decode()) for name in sorted(answer.HOP_BY_HOP)), hdrs.EXPECT)
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
"""What nginx, and so APISIX, sends to the next server when it may have been received: not POST and PATCH."""


class NoNodeError(ClientError):
    """Every node was tried, or the time for trying is over."""


class Proxy:
    """Sends requests on and answers back."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def forward(self, exchange: P, side: Side[P]) -> Refusal | None:
        """Serve a request from its upstream; return a refusal if the client has not been answered."""
        request, route = exchange.request, exchange.route
        upstream = exchange.split or (None if route is None else route.upstream)
        if upstream is None or not upstream.nodes:
            return exchange.refuse(
                503, problems.UPSTREAM_FAILED, "This route has no upstream.", outcome="upstream_error"
            )
        expected = request.headers.get(hdrs.EXPECT)
        if expected is not None:
            if expected.lower() != "100-continue":
                return exchange.refuse(
                    417, "expectation_failed", "Only Expect: 100-continue is understood.", close=True
                )
            if request.version >= (1, 1):
                write(request, answer.CONTINUE)
        upgrade = _prepare_headers(exchange)
        exchange.upstream_began_ns = time.perf_counter_ns()
        try:
            response = await self._send(exchange, upstream, upgrade)
        except TimeoutError:
            return _timed_out(exchange)
        except (ClientError, OSError) as error:
            return _failed(exchange, error)
        exchange.upstream_answered = True
        exchange.status = response.status
        try:
            if response.status == 101 and upgrade is not None:
                await self._tunnel(exchange, response, side)
            else:
                await relay(exchange, response, side)
        finally:
            response.close()
        return None

    async def _send(self, exchange: Passage, upstream: Upstream, upgrade: str | None) -> ClientResponse:
        request = exchange.request
        own = None if exchange.route is None else exchange.route.timeouts
        timeouts = own or upstream.timeouts
        tries = upstream.retries + 1
        began = time.monotonic()
        tried: list[Node] = []
        hashed = partial(hash_key, upstream.hash_on, exchange)
        while True:
            node = upstream.pick(hashed, tried)
            if node is None:
                raise NoNodeError("every node of the upstream was tried")
            fault: Fault
            at = time.monotonic()
            try:
                response = await self._request(exchange, upstream, node, timeouts, upgrade)
            except (TimeoutError, ClientError, OSError) as error:
                unsent = isinstance(error, ClientConnectorError | ConnectionTimeoutError)
                fault = "timeout_failure" if isinstance(error, TimeoutError) else "tcp_failure"
                again, failure = unsent or exchange.upstream_method in _IDEMPOTENT, error
            except BaseException:
                upstream.through(node, status=None, fault=None, seconds=None)
                raise
            else:
                upstream.through(node, status=response.status, fault=None, seconds=time.monotonic() - at)
                return response
            ours = exchange.stuck or request.content.exception() is not None
            upstream.through(node, status=None, fault=None if ours else fault, seconds=None)
            tries -= 1
            if ours or tries <= 0 or not again or exchange.body_taken:
                raise failure
            if upstream.retry_seconds and time.monotonic() - began > upstream.retry_seconds:
                raise NoNodeError("the time for trying other nodes is over") from failure
            tried.append(node)

    async def _request(
        self, exchange: Passage, upstream: Upstream, node: Node, timeouts: Timeouts, upgrade: str | None
    ) -> ClientResponse:
        request, headers = exchange.request, exchange.headers
        host = headers[hdrs.HOST] = exchange.upstream_host or upstream.host_for(node, exchange.host)
        return await self._session.request(
            exchange.upstream_method,
            URL(node.base + exchange.upstream_target, encoded=True),
            headers=headers,
            data=_body(exchange, timeouts.send_seconds) if request.body_exists else None,
            allow_redirects=False,
            timeout=timeouts.client,
            read_until_eof=upgrade is None,
            ssl=upstream.verify if upstream.secure else True,
            server_hostname=hostname(host) if upstream.secure else None,
        )

    async def _tunnel(self, exchange: P, response: ClientResponse, side: Side[P]) -> None:
        exchange.closes = True
        headers = list(response.raw_headers)
        upgrade = next((value for name, value in headers if name.lower() == b"upgrade"), b"websocket")
        framing = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
        data = side.head(exchange, (response.reason or "").encode(), headers, framing, keep=True)
        exchange.sent += len(data)
        write(exchange.request, data)
        try:
            await tunnel(exchange, response)
        finally:
            side.finish(exchange)


def _prepare_headers(exchange: Passage) -> str | None:
    """Take hop-by-hop headers out; return the protocol of an upgrade that the route allows."""
    headers, route = exchange.headers, exchange.route
    upgrade = None
    connection = headers.getall(hdrs.CONNECTION, ())
    if connection:
        tokens = {token.strip().lower() for value in connection for token in value.split(",")}
        if "upgrade" in tokens and route is not None and route.websocket:
            upgrade = headers.get(hdrs.UPGRADE)
        for token in tokens - {"keep-alive", "close", "upgrade", "host", ""}:
            headers.popall(token, None)
    for name in _HOP_BY_HOP:
        if name in headers:
            headers.popall(name)
    if upgrade is not None:
        headers[hdrs.CONNECTION] = "Upgrade"
        headers[hdrs.UPGRADE] = upgrade
    return upgrade


async def _body(exchange: Passage, send_seconds: float) -> AsyncIterator[bytes]:
    """Yield the request's body as it comes; an upstream that takes nothing for too long is given up."""
    content = exchange.request.content
    loop = asyncio.get_running_loop()
    sender = asyncio.current_task()

    def give_up() -> None:
        exchange.stuck = True
        if sender is not None:
            sender.cancel()

    while chunk := await content.readany():
        exchange.body_taken = True
        stuck = loop.call_later(send_seconds, give_up)
        try:
            yield chunk
        finally:
            stuck.cancel()


def _failed(exchange: Passage, error: Exception) -> Refusal:
    broken = exchange.request.content.exception()
    if broken is not None:
        return exchange.refuse(400, "bad_request", "The body of this request is not valid HTTP.", close=True)
    if exchange.stuck:
        return _timed_out(exchange)
    log.info("upstream failed, rid %s: %s", exchange.rid, error)
    message = "The service behind this API could not be reached or broke off."
    return _unserved(exchange, 502, problems.UPSTREAM_FAILED, message)


def _timed_out(exchange: Passage) -> Refusal:
    message = "The service behind this API did not answer in time."
    return _unserved(exchange, 504, problems.UPSTREAM_TIMEOUT, message)


def _unserved(exchange: Passage, status: int, code: str, message: str) -> Refusal:
    """Return the answer for a request that its upstream did not serve; the rest of its body is not read."""
    close = exchange.request.body_exists
    return exchange.refuse(status, code, message, outcome="upstream_error", close=close)
