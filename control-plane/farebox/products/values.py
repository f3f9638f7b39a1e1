"""The small values that upstreams, routes and products are described with, each checked where it enters.

What a field refuses, its JSON Schema says too wherever a pattern can say it. Knows no table and no gateway.
"""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from farebox.fields import Input

EMPTY: Final[list[Any]] = []
RESERVED_PREFIX: Final = "farebox-"
_NODE: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+):(\d{1,5})")


class Spec(Input):
    """A part of a definition: strict, frozen, unknown fields refused; what it describes is kept as JSON."""

    model_config = ConfigDict(validate_default=True)

    def document(self) -> dict[str, Any]:
        """Return the definition as plain JSON, whole: a later default changes nothing that is kept."""
        return self.model_dump(mode="json", exclude_none=True)

    def brief(self) -> dict[str, Any]:
        """Return only what differs from the defaults, for people to read and write."""
        return self.model_dump(mode="json", exclude_defaults=True)


def refuse(problem: str) -> PydanticCustomError:
    """Return the error that a validator raises; `problem` says what is wrong and what to do instead."""
    return PydanticCustomError("remedy", "{problem}", {"problem": problem})


def _not_reserved(code: str) -> str:
    if code.startswith(RESERVED_PREFIX):
        raise refuse(f"names that begin with {RESERVED_PREFIX} are Farebox's own; choose another")
    return code


def _address(text: str) -> str:
    match = _NODE.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= 65_535:
        raise refuse("must be host:port with a port from 1 to 65535, such as api.internal:8080 or [::1]:80")
    return text


def _path(text: str) -> str:
    if "*" in text[:-1] or "?" in text or "#" in text:
        raise refuse("may have `*` at its end alone, and no query")
    return text


def distinct(values: list[Any]) -> list[Any]:
    """Refuse a list in which something stands twice."""
    if any(value in values[:index] for index, value in enumerate(values)):
        raise refuse("something stands there twice; name it once")
    return values


Code = Annotated[
    str,
    StringConstraints(pattern=r"^[a-zA-Z0-9_.\-]{1,64}$"),
    AfterValidator(_not_reserved),
    Field(examples=["messages"]),
]
"""1 to 64 of letters, digits, `_`, `.`, `-`: an id at the gateway."""

HostName = Annotated[
    str,
    StringConstraints(
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([a-z0-9\-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9\-]*[a-z0-9])?)*$",
    ),
    Field(examples=["api.example.com"]),
]
"""A lower-case host name, at most with a leading `*.`."""

Path = Annotated[
    str,
    StringConstraints(pattern=r"^/[!-~]{0,4095}$"),
    AfterValidator(_path),
    Field(examples=["/v1/messages/*"]),
]
"""A path: visible ASCII, with `*` at its end for everything below."""

PlainPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_.~/\-]{0,255}$"), Field(examples=["/v1"])]
"""A path without wildcards or characters that a pattern would read otherwise."""

Address = Annotated[str, AfterValidator(_address), Field(examples=["api.internal:8080"])]
"""`host:port`; an IPv6 address stands in brackets."""

HeaderName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9\-]{0,63}$"), Field(examples=["X-Beta"])
]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Count = Annotated[int, Field(ge=1, le=254)]
Status = Annotated[int, Field(ge=200, le=599)]
Statuses = Annotated[list[Status], Field(min_length=1, max_length=64), AfterValidator(distinct)]
