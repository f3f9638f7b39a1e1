"""What supervisors and monitoring ask: alive, ready, figures. Outside /api, without rate limits."""

import asyncio
import hmac
from typing import Final

from aiohttp import hdrs, web
from sqlalchemy import text

from farebox import problems
from farebox.addresses import is_loopback
from farebox.availability import is_away
from farebox.metrics import CONTENT_TYPE
from farebox.problems import Refusal
from farebox.runtime import DATABASE, METRICS, RATES, SETTINGS

_PATIENCE: Final = 2.0
_GATEWAYS: Final = text("SELECT * FROM farebox_gateway_figures()")


async def healthz(_request: web.Request) -> web.Response:
    """Answer as long as the process runs; asks nobody else."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Answer 200 when PostgreSQL answers, else 503. That Redis is away is said, and no reason to stop."""
    database = await _database_answers(request)
    redis = await request.app[RATES].answers()
    body = {
        "status": "ok" if database else "unavailable",
        "postgresql": "ok" if database else "away",
        "redis": "ok" if redis else "away",
    }
    return web.json_response(body, status=200 if database else 503)


async def metrics(request: web.Request) -> web.Response:
    """Show figures to this machine or to whoever carries FAREBOX_METRICS_TOKEN; others find nothing."""
    token = request.app[SETTINGS].metrics_token.get_secret_value()
    sent = request.headers.get(hdrs.AUTHORIZATION, "").removeprefix("Bearer ")
    if not (is_loopback(request) or (token and hmac.compare_digest(sent.encode(), token.encode()))):
        raise Refusal(problems.NOT_FOUND)
    await _gateway_figures(request)
    return web.Response(body=request.app[METRICS].exposition(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})


async def _gateway_figures(request: web.Request) -> None:
    """Take the gateways' figures from PostgreSQL; while it is away there are none."""
    try:
        async with asyncio.timeout(_PATIENCE), request.app[DATABASE].engine.connect() as connection:
            rows = (await connection.execute(_GATEWAYS)).all()
    except Exception as error:
        if not is_away(error):
            raise
        rows = []
    request.app[METRICS].gateways(
        (row.gateway, row.node, row.silent_seconds, row.differences) for row in rows
    )


async def _database_answers(request: web.Request) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE), request.app[DATABASE].engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except Exception as error:
        if is_away(error):
            return False
        raise
    return True


ROUTES: Final = (
    web.get("/healthz", healthz),
    web.get("/readyz", readyz),
    web.get("/metrics", metrics),
)
