"""The API that the demo sells: messages. It shows what reaches an upstream, and what does not.

Knows nothing of keys and plans; it would run the same behind any gateway. Given the gateway's identity
secrets it answers only what the gateway signed, as an upstream that others could reach should.
"""

import asyncio
import json
import re
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from farebox_contract import identity

Message = dict[str, Any]

MAX_BODY_BYTES: Final = 64 * 1024
_MAX_TEXT: Final = 1600  # ten segments of a text message
_KEPT: Final = 10_000
_MESSAGES: Final = web.AppKey("messages", OrderedDict[str, Message])
_STATUS = re.compile(r"status:([45]\d\d)")
_DELAY = re.compile(r"delay:(\d{1,5})")


def create_app(*, identity_secrets: Sequence[bytes] = ()) -> web.Application:
    """The application: two routes and a health check. Keeps the last 10,000 messages in memory.

    With `identity_secrets` every request but the health check must carry the gateway's signature, else 403.
    """
    middlewares = [_signed(identity_secrets)] if identity_secrets else []
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
    app[_MESSAGES] = OrderedDict()
    app.router.add_post("/v1/messages/send", send)
    app.router.add_get("/v1/messages/{id}", fetch)
    app.router.add_get("/healthz", health)
    return app


def _signed(secrets: Sequence[bytes]) -> Middleware:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != "/healthz":
            try:
                identity.verify(
                    request.headers,
                    method=request.method,
                    target=request.raw_path,
                    secrets=secrets,
                    now_ms=time.time_ns() // 1_000_000,
                )
            except identity.UnsignedError as error:
                return _refuse(403, "not_from_the_gateway", str(error))
        return await handler(request)

    return check


async def send(request: web.Request) -> web.Response:
    """Take `{"to", "text"}`; answer 200 with the message and the headers that arrived with it, or 400."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        return _refuse(400, "invalid_json", "The body is not JSON.")
    if not isinstance(body, dict) or not isinstance(to := body.get("to"), str) or not to:
        return _refuse(400, "invalid_to", 'Send {"to": "…", "text": "…"}; "to" is missing or no text.')
    text = body.get("text", "")
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        return _refuse(400, "invalid_text", f'"text" must be text of at most {_MAX_TEXT} characters.')
    if asked := _STATUS.fullmatch(to):
        return _refuse(int(asked[1]), "asked_for", f"The recipient {to} asks for this answer.")
    if asked := _DELAY.fullmatch(to):
        await asyncio.sleep(min(int(asked[1]), 30_000) / 1000)
    message: Message = {"id": f"msg_{uuid4().hex}", "status": "sent", "to": to, "text": text}
    kept = request.app[_MESSAGES]
    kept[message["id"]] = message
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return web.json_response({**message, "received": {"headers": _headers(request)}})


async def fetch(request: web.Request) -> web.Response:
    """The message with this id, or 404."""
    message = request.app[_MESSAGES].get(request.match_info["id"])
    if message is None:
        return _refuse(404, "not_found", "There is no message with this id.")
    return web.json_response({**message, "received": {"headers": _headers(request)}})


async def health(_request: web.Request) -> web.Response:
    """200 as long as the process answers."""
    return web.json_response({"status": "ok"})


def _headers(request: web.Request) -> dict[str, list[str]]:
    """Every header as it arrived; a name that came twice shows both values."""
    return {name: request.headers.getall(name) for name in dict.fromkeys(map(str, request.headers))}


def _refuse(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
