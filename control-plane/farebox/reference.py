"""The OpenAPI document at /api/openapi.json and the reference page made from it at /api/docs."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from pydantic_core import to_json

from farebox import openapi
from farebox.endpoints import Endpoint
from farebox.runtime import SETTINGS
from farebox.web import json_response


def routes(endpoints: Sequence[Endpoint[Any, Any, Any]]) -> Sequence[web.RouteDef]:
    """Return the routes of the document and of the page."""

    async def document(request: web.Request) -> web.Response:
        made = openapi.document(endpoints, server=request.app[SETTINGS].public_url)
        return json_response(to_json(made), status=200)

    return (web.get("/api/openapi.json", document),)
