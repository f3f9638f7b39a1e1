"""HTTP as the API speaks it: bodies and queries read into models, answers written in one envelope.

Knows pydantic and aiohttp, nothing of what the endpoints do. What a caller got wrong comes out as a refusal
that names each field and its remedy and never repeats the value: it may be a secret, and errors reach logs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from farebox import problems
from farebox.fields import Nothing
from farebox.problems import Refusal

MAX_BODY_BYTES: Final = 1024 * 1024

Model = TypeVar("Model", bound=BaseModel)
Data_co = TypeVar("Data_co", bound=BaseModel, covariant=True)


@dataclass(frozen=True, slots=True)
class Answer(Generic[Data_co]):
    """What an endpoint answers. `kept` replaces `data` where answers are remembered: `data` held a secret."""

    data: Data_co
    message: str
    kept: BaseModel | None = None
    kept_message: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def envelope(message: str, data: Any) -> bytes:
    """Write `{"success": true, "message", "data"}`."""
    return to_json({"success": True, "message": message, "data": data})


def json_response(body: bytes, *, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


async def read_body(request: web.Request, model: type[Model]) -> Model:
    """Read the JSON body into the model. Raises `Refusal`: 400, 413, 415 or 422.

    An endpoint without members also takes no body at all.
    """
    if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
        raise Refusal(problems.BODY_TOO_LARGE)
    raw = await request.read()
    if not raw and model is Nothing:
        return model()
    if request.content_type != "application/json":
        raise Refusal(problems.UNSUPPORTED_MEDIA_TYPE)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True, include_input=False)
    if found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "")
        raise Refusal(problems.MALFORMED_JSON, details={"reason": _place_only(str(reason))})
    raise Refusal(problems.INVALID_REQUEST, details={"fields": [_field(item, model) for item in found]})


def read_query(request: web.Request, model: type[Model]) -> Model:
    """Read the query string into the model. Raises `Refusal` 422; a parameter given twice is refused too."""
    query = request.query
    values: dict[str, str] = {}
    for name, value in query.items():
        if name in values:
            raise invalid(name, "is given twice; give it once")
        values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True, include_input=False)
    raise Refusal(problems.INVALID_REQUEST, details={"fields": [_field(item, model) for item in found]})


def read_value(value: Any, model: type[Model]) -> Model:
    """Read plain data, as from a file or a command, into the model. Raises `Refusal` 422."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True, include_input=False)
    raise Refusal(problems.INVALID_REQUEST, details={"fields": [_field(item, model) for item in found]})


def invalid(name: str, problem: str) -> Refusal:
    """Return the refusal for one field; `problem` says what is wrong and what to do instead."""
    return Refusal(problems.INVALID_REQUEST, details={"fields": [{"field": name, "problem": problem}]})


def _place_only(reason: str) -> str:
    # The parser's text names the place and the kind of fault; cut anything that quotes the body.
    return re.sub(r"['\"`].*['\"`]", "…", reason)[:200]


def _field(error: ErrorDetails, model: type[BaseModel]) -> dict[str, Any]:
    return {
        "field": ".".join(str(part) for part in error["loc"]) or "(body)",
        "problem": remedy(error, model),
    }


def remedy(error: ErrorDetails, model: type[BaseModel]) -> str:
    """Say what is wrong with a field and what to do instead; never repeats the value."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = ", ".join(sorted(model.model_fields)) if len(error["loc"]) == 1 else ""
        return f"is not known; remove it{f' (known: {known})' if known else ' (no field is known here)'}"
    if kind == "remedy":
        return str(context["problem"])
    if kind == "string_pattern_mismatch":
        return _pattern_remedy(error["loc"], str(context.get("pattern")))
    text = _REMEDIES.get(kind)
    return text.format(**context) if text else f"is not acceptable: {error['msg']}"


def _pattern_remedy(location: Iterable[int | str], pattern: str) -> str:
    if "email" in location:
        return "must be an e-mail address such as ada@example.com"
    return f"must match {pattern}"


_REMEDIES: Final[Mapping[str, str]] = {
    "missing": "is required; add it",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "too_long": "must have at most {max_length} entries",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "datetime_type": "must be an instant such as 2026-01-31T12:00:00Z",
    "datetime_parsing": "must be an instant such as 2026-01-31T12:00:00Z",
    "datetime_from_date_parsing": "must be an instant such as 2026-01-31T12:00:00Z",
    "timezone_aware": "must say its offset, such as 2026-01-31T12:00:00Z",
    "control_characters": "must not contain control or direction characters; remove them",
}
