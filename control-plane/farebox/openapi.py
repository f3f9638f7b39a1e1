"""The OpenAPI 3.1 document, made from the endpoints' declarations and pydantic's own schemas.

Says exactly what the code does: each endpoint's success, each status it can refuse with and the codes that
stand behind it. Nothing is written by hand that the declarations know.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from farebox import problems
from farebox.endpoints import PREFIX, Access, Endpoint
from farebox.fields import Nothing
from farebox.files import File
from farebox.problems import PROBLEM_JSON, Problem

VERSION: Final = "1.0.0"
_REF: Final = "#/components/schemas/{model}"
_SHORT_ID: Final = "[a-z0-9]{10}"
_LONG_ID: Final = "[0-7][0-9a-hjkmnp-tv-z]{25}"
_CODE: Final = r"^[a-zA-Z0-9_.\-]{1,64}$"
_SHORT_PREFIXES: Final = frozenset({"org", "key", "sub"})
_EVERYWHERE: Final = (problems.RATE_LIMITED, problems.UNAVAILABLE, problems.INTERNAL)
_WITH_TOKEN: Final = (problems.UNAUTHENTICATED, problems.INVALID_TOKEN)
_WITH_BODY: Final = (
    problems.MALFORMED_JSON, problems.INVALID_REQUEST, problems.UNSUPPORTED_MEDIA_TYPE,
    problems.BODY_TOO_LARGE,
)  # fmt: skip
_WITH_KEY: Final = (
    problems.IDEMPOTENCY_KEY_INVALID, problems.IDEMPOTENCY_KEY_REUSED, problems.IDEMPOTENCY_IN_FLIGHT,
)  # fmt: skip
_ENVELOPE: Final = {
    "type": "object",
    "required": ["success", "error"],
    "additionalProperties": False,
    "properties": {
        "success": {"const": False},
        "error": {
            "type": "object",
            "required": ["code", "message", "details", "request_id"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "string", "description": "Stable; docs/errors.md has a heading for each."},
                "message": {"type": "string", "description": "For people."},
                "details": {"type": "object"},
                "request_id": {"type": "string", "description": "The X-Request-Id of the answer."},
            },
        },
    },
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "details", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "details": {"type": "object"},
        "request_id": {"type": "string"},
    },
}
_INTRODUCTION: Final = (
    "Sign up, issue API keys, see usage and invoices, change plans.\n\n"
    'Answers are `{"success": true, "message", "data"}`; refusals `{"success": false, "error": {"code", '
    '"message", "details", "request_id"}}`, or RFC 9457 with `Accept: application/problem+json`. Lists are '
    "paged by `limit` and `cursor`. Every POST with an effect takes an `Idempotency-Key`, every write "
    "`Dry-Run: true`. Times are RFC 3339 in UTC; amounts whole minor units with a currency."
)


def document(endpoints: Sequence[Endpoint[Any, Any, Any]], *, server: str) -> dict[str, Any]:
    """Return the document as plain JSON values."""
    inputs: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for declared in endpoints:
        if not issubclass(declared.data, File):
            inputs.append((declared.data, "serialization"))
        if declared.body is not Nothing:
            inputs.append((declared.body, "validation"))
        if declared.query is not Nothing:
            inputs.append((declared.query, "validation"))
    names, definitions = models_json_schema(list(dict.fromkeys(inputs)), ref_template=_REF)
    schemas: dict[str, Any] = definitions.get("$defs", {})
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for declared in endpoints:
        paths[PREFIX + declared.path][declared.method.lower()] = _operation(declared, names, schemas)
    for declared in endpoints:
        if declared.query is not Nothing:
            schemas.pop(_name(names[declared.query, "validation"]), None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Farebox", "version": VERSION, "description": _INTRODUCTION},
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in dict.fromkeys(declared.tag for declared in endpoints)],
        "paths": dict(paths),
        "components": {
            "schemas": {**schemas, "ErrorEnvelope": _ENVELOPE, "ProblemDetails": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "headers": _HEADERS,
        },
    }


def refusals_of(declared: Endpoint[Any, Any, Any]) -> tuple[Problem, ...]:
    """Return every refusal that the endpoint can answer with: its own, and those of how it is served."""
    found: list[Problem] = [*declared.refusals, *_EVERYWHERE]
    if declared.access is not Access.PUBLIC:
        found += _WITH_TOKEN
    if declared.access is Access.MEMBER:
        found += (problems.NO_ORGANIZATION, problems.FORBIDDEN)
    if declared.access is Access.OPERATOR:
        found.append(problems.OPERATORS_ONLY)
    if _takes_body(declared):
        found += _WITH_BODY
    found.append(problems.INVALID_REQUEST)
    if declared.effect:
        found.append(problems.DRY_RUN_INVALID)
    if declared.method == "POST":
        found += _WITH_KEY
    return tuple(dict.fromkeys(found))


def _operation_id(declared: Endpoint[Any, Any, Any]) -> str:
    """Return a name that method and path alone make: unique, and the same whatever the code is called."""
    words = re.findall(r"[A-Za-z0-9]+", declared.path)
    return "_".join([declared.method.lower(), *words]).lower()


def _operation(
    declared: Endpoint[Any, Any, Any], names: dict[tuple[Any, JsonSchemaMode], Any], schemas: dict[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(declared),
        "summary": declared.summary,
        "description": declared.description + _who(declared),
        "tags": [declared.tag],
        "parameters": [
            *_path_parameters(declared),
            *_query_parameters(declared, names, schemas),
            *_headers(declared),
        ],
        "responses": _responses(declared, names),
    }
    if declared.access is not Access.PUBLIC:
        operation["security"] = [{"token": []}]
    if declared.body is not Nothing:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": names[declared.body, "validation"]}},
        }
    return operation


def _who(declared: Endpoint[Any, Any, Any]) -> str:
    match declared.access:
        case Access.PUBLIC:
            return " Needs no token."
        case Access.USER:
            return " For every user."
        case Access.OPERATOR:
            return " For operators."
        case Access.MEMBER:
            return f" Needs the permission `{declared.permission}`."


def _responses(
    declared: Endpoint[Any, Any, Any], names: dict[tuple[Any, JsonSchemaMode], Any]
) -> dict[str, Any]:
    if issubclass(declared.data, File):
        file = {"schema": {"type": "string", "format": "binary"}}
        content: dict[str, Any] = {declared.data.media_type: file}
    else:
        content = {"application/json": {"schema": _success(names[declared.data, "serialization"])}}
    responses: dict[str, Any] = {
        str(declared.status): {"description": "Done.", "headers": _header_refs(), "content": content}
    }
    by_status: defaultdict[int, list[Problem]] = defaultdict(list)
    for problem in refusals_of(declared):
        by_status[problem.status].append(problem)
    for status, found in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "\n".join(f"- `{problem.code}`: {problem.message}" for problem in found),
            "content": {
                "application/json": {"schema": {"$ref": _REF.format(model="ErrorEnvelope")}},
                PROBLEM_JSON: {"schema": {"$ref": _REF.format(model="ProblemDetails")}},
            },
        }
    return responses


def _success(data: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["success", "message", "data"],
        "additionalProperties": False,
        "properties": {
            "success": {"const": True},
            "message": {"type": "string"},
            "data": data,
        },
    }


def _path_parameters(declared: Endpoint[Any, Any, Any]) -> Iterable[dict[str, Any]]:
    for variable in re.findall(r"\{(\w+)\}", declared.path):
        # What is no id is the code of something in the catalogue.
        prefix = declared.identifiers.get(variable, "code")
        body = _SHORT_ID if prefix in _SHORT_PREFIXES else _LONG_ID
        pattern = _CODE if prefix == "code" else f"^{prefix}_{body}$"
        yield {
            "name": variable,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": pattern},
        }


def _query_parameters(
    declared: Endpoint[Any, Any, Any], names: dict[tuple[Any, JsonSchemaMode], Any], schemas: dict[str, Any]
) -> Iterable[dict[str, Any]]:
    if declared.query is Nothing:
        return
    schema = schemas[_name(names[declared.query, "validation"])]
    for name, member in schema.get("properties", {}).items():
        shown = {key: value for key, value in member.items() if key not in {"title", "description"}}
        parameter: dict[str, Any] = {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _without_null(shown),
        }
        if "description" in member:
            parameter["description"] = member["description"]
        yield parameter


def _headers(declared: Endpoint[Any, Any, Any]) -> Iterable[dict[str, Any]]:
    if declared.method == "POST" and declared.effect:
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "The same key and payload within 24 hours give the first answer again.",
            "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        }
    if declared.effect:
        yield {
            "name": "Dry-Run",
            "in": "header",
            "required": False,
            "description": "`true`: everything is checked and answered, and nothing is changed.",
            "schema": {"type": "string", "enum": ["true", "false"]},
        }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    # A query has no null: a parameter is left out instead.
    if "anyOf" not in schema:
        return schema
    kept = [option for option in schema["anyOf"] if option != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and value is not None}
    return {**kept[0], **rest} if len(kept) == 1 else {**rest, "anyOf": kept}


def _takes_body(declared: Endpoint[Any, Any, Any]) -> bool:
    return declared.method in {"POST", "PUT", "PATCH"}


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _header_refs() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}


_HEADERS: Final[dict[str, Any]] = {
    "X-Request-Id": {"description": "Name it when you ask for help.", "schema": {"type": "string"}},
    "X-RateLimit-Limit": {"description": "Requests a minute.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "Requests left now.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "Unix time of the next window.", "schema": {"type": "integer"}},
}
