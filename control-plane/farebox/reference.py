"""The reference page, made from the OpenAPI document alone: what the document does not say, it cannot show.

Rendered here, without scripts and without anything from elsewhere, so it works offline and under the
strictest content policy.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from pydantic_core import to_json

from farebox import openapi
from farebox.endpoints import Endpoint
from farebox.html import page
from farebox.problems import PROBLEMS
from farebox.runtime import SETTINGS
from farebox.schemas import Row, Schemas, kind, rows, sample
from farebox.web import json_response

_CACHE: Final = {"Cache-Control": "public, max-age=300"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint as the page shows it."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    needs_token: bool
    parameters: Sequence[Row]
    body: Sequence[Row]
    curl: str
    status: str
    answer: Sequence[Row]
    answer_example: str
    refusals: Sequence[tuple[str, Sequence[str]]]


def routes(endpoints: Sequence[Endpoint[Any, Any, Any]]) -> Sequence[web.RouteDef]:
    """Return the routes of the document, of the page made from it, and of the page of error codes."""

    async def document(request: web.Request) -> web.Response:
        made = openapi.document(endpoints, server=request.app[SETTINGS].public_url)
        return json_response(to_json(made), status=200, headers=_CACHE)

    async def reference(request: web.Request) -> web.Response:
        made = openapi.document(endpoints, server=request.app[SETTINGS].public_url)
        return page("reference.html", headers=_CACHE, info=made["info"], tags=by_tag(made))

    async def errors(_request: web.Request) -> web.Response:
        found = sorted(PROBLEMS.values(), key=lambda problem: (problem.status, problem.code))
        return page("errors.html", headers=_CACHE, problems=found)

    return (
        web.get("/api/openapi.json", document),
        web.get("/api/docs", reference),
        web.get("/api/docs/errors", errors),
    )


def by_tag(document: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """Return the operations of the document under their tags, both in the document's order."""
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    server = document["servers"][0]["url"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            shown = _operation(path, method.upper(), operation, document["components"]["schemas"], server)
            found[operation["tags"][0]].append(shown)
    return found


def _operation(
    path: str, method: str, operation: Mapping[str, Any], schemas: Schemas, server: str
) -> Operation:
    status, success = next(iter(operation["responses"].items()))
    media_type, content = next(iter(success["content"].items()))
    answer = content["schema"].get("properties", {}).get("data", {})
    is_file = not answer
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    example = sample(body, schemas) if body is not None else None
    needs_token = "security" in operation
    return Operation(
        anchor=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        description=operation["description"],
        needs_token=needs_token,
        parameters=[
            Row(
                f"{parameter['name']} ({parameter['in']})",
                kind(parameter["schema"], schemas),
                parameter["required"],
                parameter.get("description", ""),
            )
            for parameter in operation["parameters"]
        ],
        body=list(rows(body, schemas)) if body is not None else [],
        curl=_curl(method, server + path, example, needs_token=needs_token),
        status=status,
        answer=list(rows(answer, schemas)),
        answer_example=f"(a file: {media_type})"
        if is_file
        else _pretty({"success": True, "message": "…", "data": sample(answer, schemas)}),
        refusals=[
            (code, [line.removeprefix("- ") for line in response["description"].splitlines()])
            for code, response in operation["responses"].items()
            if code != status
        ],
    )


def _curl(method: str, url: str, body: Any, *, needs_token: bool) -> str:
    parts = ["curl" if method == "GET" else f"curl -X {method}", f"'{url}'"]
    if needs_token:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    if body is not None:
        text = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
        parts += ["-H 'Content-Type: application/json'", f"-d '{text}'"]
    return " \\\n  ".join([" ".join(parts[:2]), *parts[2:]])


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
