"""The kinds of text and number that requests carry, each with its bounds, checked where they enter.

Names are kept in Unicode NFC, trimmed, without control characters and without the marks that turn text
around (they make one name look like another). What a field refuses, its JSON Schema says too.
"""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

NAME_LENGTH: Final = 80
LINE_LENGTH: Final = 200
PASSWORD_LENGTH: Final = 128
EMAIL_LENGTH: Final = 254
_FORBIDDEN: Final = r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
_FORBIDDEN_CHARACTER: Final = re.compile(f"[{_FORBIDDEN}]")
_NAME_PATTERN: Final = rf"^[^\s{_FORBIDDEN}]([^{_FORBIDDEN}]*[^\s{_FORBIDDEN}])?$"
EMAIL_PATTERN: Final = (
    r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~\-]{1,64}@[a-zA-Z0-9]([a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])?"
    r"(\.[a-zA-Z0-9]([a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])?)+$"
)
"""The HTML standard's pattern of an e-mail address, with a dot required in the domain."""


class Input(BaseModel):
    """A body or a query: strict types, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class QueryInput(Input):
    """A query: everything arrives as text there, so numbers and instants are read out of it."""

    model_config = ConfigDict(strict=False)


class View(BaseModel):
    """What an answer shows. Every member is always there; absence is written as null."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Nothing(Input):
    """A body or a query without members."""


class Empty(View):
    """An answer with nothing to show but its message."""


def _plain(value: str) -> str:
    if _FORBIDDEN_CHARACTER.search(value):
        raise PydanticCustomError(
            "control_characters", "must not contain control or direction characters; remove them"
        )
    return value


def _nfc(value: Any) -> Any:
    return unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else value


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("instant", "must lie between the years 1 and 9999 in UTC") from error


def name_schema(maximum: int) -> WithJsonSchema:
    """Return the JSON Schema of a name of at most `maximum` characters."""
    return WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": maximum, "pattern": _NAME_PATTERN}, mode="validation"
    )


Name = Annotated[
    str,
    BeforeValidator(_nfc),
    StringConstraints(min_length=1, max_length=NAME_LENGTH),
    AfterValidator(_plain),
    name_schema(NAME_LENGTH),
]
"""1 to 80 characters, trimmed, NFC, without control or direction characters."""

Line = Annotated[
    str,
    BeforeValidator(_nfc),
    StringConstraints(min_length=1, max_length=LINE_LENGTH),
    AfterValidator(_plain),
    name_schema(LINE_LENGTH),
]
"""1 to 200 characters of an address or a reason, as a name otherwise."""

Email = Annotated[
    str,
    BeforeValidator(_nfc),
    StringConstraints(max_length=EMAIL_LENGTH, pattern=EMAIL_PATTERN, to_lower=True),
    Field(examples=["ada@example.com"]),
]
"""An address, lower-cased."""

NewPassword = Annotated[
    str,
    StringConstraints(min_length=8, max_length=PASSWORD_LENGTH),
    Field(examples=["a long sentence nobody else uses"]),
]
"""8 to 128 characters of any kind."""

GivenPassword = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""A password offered at log-in, whatever rules held when it was set."""

MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]{1,40}$")]
MetadataValue = Annotated[
    str,
    StringConstraints(max_length=500),
    AfterValidator(_plain),
    WithJsonSchema({"type": "string", "maxLength": 500, "pattern": f"^[^{_FORBIDDEN}]*$"}, mode="validation"),
]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)]
"""Up to 50 texts of the caller's own, kept and shown, never read by us."""

Future = Annotated[AwareDatetime, AfterValidator(_utc)]
"""An instant with its offset (RFC 3339)."""

Instant = Annotated[datetime, Field(examples=["2026-03-01T00:00:00Z"])]
"""RFC 3339 in UTC, ending in Z."""

PlanCode = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9\-]{0,39}$"), Field(examples=["starter"])]
Units = Annotated[int, Field(ge=0, le=10**12, examples=[15_000])]
