"""The usage line of an answered request, from what the exchange has come to know."""

import time

from aiohttp import hdrs

from farebox_contract.usage_line import VERSION, UsageLine
from farebox_gateway.edge import request_text
from farebox_gateway.edge.connections import received
from farebox_gateway.edge.exchange import Exchange


def line_of(exchange: Exchange, sequence: int, *, node: str, boot: str, worker: int) -> UsageLine:
    """Return the line; `node`, `boot` and `worker` name the stream in which `sequence` counts."""
    request, route, group = exchange.request, exchange.route, exchange.group
    consumer, credential = exchange.consumer, exchange.credential
    now_ns = time.perf_counter_ns()
    return UsageLine(
        v=VERSION,
        ts=exchange.started_ms,
        node=node,
        boot=boot,
        worker=worker,
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
        in_=exchange.received_before + received(request),
        out=exchange.sent,
        us=(now_ns - exchange.started_ns) // 1000,
        up_us=(now_ns - exchange.upstream_began_ns) // 1000
        if exchange.upstream_answered and exchange.upstream_began_ns is not None
        else None,
        ip=exchange.remote,
        ua=request_text.shown_agent(request.headers.get(hdrs.USER_AGENT, "")),
    )
