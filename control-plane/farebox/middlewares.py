"""The one middleware: everything between the socket and an endpoint.

Gives each request an id, turns every failure into an answer in the API's error shape, sets the security
headers, writes one access log entry, and counts. The log knows the route's template, the caller's id and the
status; never a body, a query string, a token or a key.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import hdrs, web
from pydantic_core import to_json

from farebox import problems
from farebox.admission import CALLER, LIMIT_HEADERS
from farebox.availability import is_away
from farebox.endpoints import REQUEST_ID
from farebox.problems import Refusal
from farebox.runtime import METRICS, SETTINGS
from farebox.web import json_response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_RETRY_AFTER: Final = {"Retry-After": "2"}
_SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NO_CONTENT: Final = "default-src 'none'; frame-ancestors 'none'"
_HTTPS_ONLY: Final = "max-age=31536000; includeSubDomains"
log = structlog.get_logger("farebox.access")
faults = structlog.get_logger("farebox.faults")


@web.middleware
async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer the request, whatever happens."""
    began = time.perf_counter()
    request_id = request[REQUEST_ID] = secrets.token_hex(16)
    metrics = request.app[METRICS]
    code = None
    metrics.in_flight.inc()
    try:
        try:
            response = await handler(request)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the last line of defence: no failure leaves without our shape
            refusal = _as_refusal(request, error)
            code = refusal.problem.code
            response = _refuse(request, refusal, request_id)
        _set_headers(request, response, request_id)
    finally:
        metrics.in_flight.dec()
    seconds = time.perf_counter() - began
    route = _route(request)
    metrics.answered(request.method if route != "unknown" else "any", route, response.status, seconds)
    log.info(
        "request",
        request_id=request_id,
        method=request.method,
        route=route,
        status=response.status,
        code=code,
        caller=request.get(CALLER),
        ms=round(seconds * 1000, 2),
    )
    return response


def _as_refusal(request: web.Request, error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        if error.log is not None:
            log.info("refused", request_id=request[REQUEST_ID], code=error.problem.code, reason=error.log)
        return error
    if isinstance(error, web.HTTPException):
        return _of_aiohttp(error)
    if is_away(error):
        faults.warning("database_away", request_id=request[REQUEST_ID], error=type(error).__name__)
        return Refusal(problems.UNAVAILABLE, headers=_RETRY_AFTER)
    faults.error("unexpected", request_id=request[REQUEST_ID], route=_route(request), exc_info=error)
    return Refusal(problems.INTERNAL)


def _of_aiohttp(error: web.HTTPException) -> Refusal:
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Refusal(problems.METHOD_NOT_ALLOWED, headers={hdrs.ALLOW: allowed})
        case web.HTTPRequestEntityTooLarge():
            return Refusal(problems.BODY_TOO_LARGE)
        case web.HTTPNotFound():
            return Refusal(problems.NOT_FOUND)
        case _:
            return Refusal(problems.BAD_REQUEST, log=f"aiohttp: {error.status}")


def _refuse(request: web.Request, refusal: Refusal, request_id: str) -> web.Response:
    status = refusal.problem.status
    if problems.wants_problem_json(request.headers.get(hdrs.ACCEPT, "")):
        documentation = f"{request.app[SETTINGS].public_url.rstrip('/')}/api/docs/errors"
        body = problems.as_problem_json(
            refusal, request_id=request_id, instance=request.path, documentation=documentation
        )
        return web.Response(
            body=to_json(body), status=status, headers=refusal.headers, content_type=problems.PROBLEM_JSON
        )
    return json_response(
        to_json(problems.as_envelope(refusal, request_id=request_id)), status=status, headers=refusal.headers
    )


def _set_headers(request: web.Request, response: web.StreamResponse, request_id: str) -> None:
    headers = response.headers
    headers["X-Request-Id"] = request_id
    headers[hdrs.SERVER] = "farebox"
    for name, value in _SECURITY_HEADERS.items():
        headers[name] = value
    headers.setdefault("Content-Security-Policy", _NO_CONTENT)
    headers.setdefault("Cache-Control", "no-store")
    if request.app[SETTINGS].public_url.startswith("https:"):
        headers["Strict-Transport-Security"] = _HTTPS_ONLY
    limits = request.get(LIMIT_HEADERS)
    if limits is not None:
        headers.update(limits)


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
